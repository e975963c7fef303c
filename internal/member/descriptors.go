package member

import "golang.org/x/sys/unix"

// reservedDescriptors are kept for the member's own files and for everything
// that is no client's connection: segments of the log, snapshots being written,
// received and sent, other members, those who administer and those who measure.
// A member that can't open a segment or a snapshot must stop, whoever has used
// the descriptors up.
const reservedDescriptors = 512

// connectionLimit is how many clients there may be: what the configuration
// says, 0 for no bound, as far as the operating system lets the process have so
// many files open.
func connectionLimit(configured int, openFiles uint64) int {
	if openFiles > 1<<30 {
		return configured
	}
	most := int(openFiles) - reservedDescriptors
	if openFiles < 2*reservedDescriptors {
		most = int(openFiles) / 2
	}
	if configured == 0 || configured > most {
		return max(most, 1)
	}
	return configured
}

// maxConns is connectionLimit for this process. If the limit is the operating
// system's, that is logged: who meets it wants to raise it.
func (m *Member) maxConns() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return m.cfg.MaxCnxns
	}
	most := connectionLimit(m.cfg.MaxCnxns, files.Cur)
	if most != m.cfg.MaxCnxns {
		m.log.Info("the limit on open files (ulimit -n) bounds how many clients can connect", "files", files.Cur, "clients", most, "maxCnxns", m.cfg.MaxCnxns)
	}
	return most
}
