// Package zooconfig reads ZooKeeper's configuration: the file zoo.cfg, its
// dynamic part, the myid file and what ZooKeeper takes as Java system
// properties. The result is one validated, typed Config.
//
// In the room: the syntax of Java's .properties files, the table of keys with
// their ranges, defaults and documentation, the server lines, and the rules
// that tie keys to each other. The table is the only list of keys there is:
// parsing, the warning about unused keys and the reference documentation are
// all made from it.
//
// Not in the room: sockets, name resolution, clocks and the server itself.
// Parse is a pure function of its arguments; only Load, OSEnv and
// CheckNoZooKeeperData touch the disk. Nothing here imports another package of
// this project.
//
// Three rules decide what happens to a key:
//
//   - A key that Conclave uses is checked, and a wrong value is an error. All
//     wrong values are reported at once.
//   - A key that asks for protection which Conclave does not give (TLS, SASL,
//     authentication of clients) is an error: to start without it would be a
//     silent downgrade. A key that only offers it (SASLAuthenticationProvider
//     without a demand for SASL) is named in the warnings: whoever relies on it
//     is refused, not let in.
//   - Any other key is named in the warnings and has no effect.
package zooconfig
