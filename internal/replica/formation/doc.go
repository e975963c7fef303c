// Package formation turns a static configuration (the server.N lines of
// ZooKeeper's configuration file) into exactly one ensemble.
//
// In the room: the decision. A single-decree Paxos over the configured voters,
// as a pure core: Acceptor and Former, with their messages and the encoding of
// these; and a thin Node that joins the core to calls and a disk that are
// handed to it.
//
// Not in the room: sockets, files, raft. What it decides is a Value: the
// cluster id and who the founding voters are; what is made of it is the
// replica's business. How a member joins an ensemble that exists is the
// replica's business too; the messages for it are here because an empty member
// has no others.
//
// # How it goes
//
// Every member asks all configured servers who they are and what they have.
// Whoever answers with an ensemble ends the matter: that one is to be joined.
// An answer that contradicts (other server lines, another member of the same
// name, another server behind an address) holds everything up, and its reason
// is in Status. Once a majority of the voters has answered, empty, and the rest
// has been given its grace, the lowest of them proposes: it has its ballot
// promised by those that answered, makes a value with them as founders, and has
// that accepted by a majority. The others follow in their turn, if nothing has
// come of it.
//
// A configured voter that is not among the founders has a vacant seat, and
// joins later; see Voter.
//
// # What is promised
//
// A disk holds a member id and what was promised under it. A server that loses
// its disk is another member, of the same name. Let n be the number of
// configured voters and q a majority of them.
//
//  1. Nobody's disk lost: at most one value is ever decided.
//  2. Some disks lost: once a value with p founders is decided, no other one is
//     as long as fewer than p+q-n of the names have lost a disk. If all voters
//     were founders, that is any minority of them. If only a bare majority was
//     there, it is none at all: of three servers, two found an ensemble, one of
//     the two loses its disk, the other cannot be reached, and the third was
//     never heard of; then the third and the new one see what two fresh servers
//     would see, and no protocol can tell. This is what waiting for all (Grace)
//     is good for.
//  3. However many disks are lost, and whatever is decided: there are never two
//     ensembles that live. To live, an ensemble needs a majority of its seats,
//     and it has one seat for every configured voter (a vacant one counts and
//     never helps); a disk is bound to one ensemble; and there is one disk to a
//     name. In the case above, the first ensemble has one disk of three left.
//
// Why 2 holds. Let V be decided in ballot b, and founded in b0 <= b: p voters,
// counted, had promised b0, and every one of them had stored under which ids.
// Take the first later ballot that proposes something else, and the q voters
// counted in it. At least p+q-n of them have promised b0 too; with fewer disks
// lost, one of them has its disk still, and remembers every founder's id. Now
// take those of the q that have accepted V; there is one, for both are
// majorities. If it has its disk, it reports V. If it has not, it has another
// id, and the one that remembers says so: it is not counted after all.
//
// The tests hold this: every schedule of a few proposals and a lost disk on
// three acceptors (explore_test.go), and thousands of random ones with whole
// members (sim_test.go).
//
// # What is assumed
//
//   - Persist is durable when it returns, and a disk is lost as a whole: what it
//     holds is never set back to an earlier state (a restored backup would be).
//   - A process whose disk was replaced does not go on running on the old one.
//   - All members have the same server lines, or find out: those that talk
//     compare them. Two groups with different lines that never talk are two
//     configurations, and found two ensembles.
//   - Nobody lies.
package formation
