package ensemble

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// FourLetterWord sends word to addr and returns everything up to the server's
// close.
func FourLetterWord(addr, word string, timeout time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return "", fmt.Errorf("%s to %s: %w", word, addr, err)
	}
	return string(answer), nil
}

// ParseMntr turns the answer to mntr into a map without the "zk_" prefixes.
func ParseMntr(answer string) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(answer) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if ok {
			out[strings.TrimPrefix(key, "zk_")] = value
		}
	}
	return out
}

// Role is the member's zk_server_state: leader, follower, or empty while it
// serves nobody.
func (m *Member) Role() (string, error) {
	answer, err := FourLetterWord(m.Addr(), "mntr", 5*time.Second)
	if err != nil {
		return "", err
	}
	return ParseMntr(answer)["server_state"], nil
}

// ParseMode returns what srvr says behind "Mode: ", or nothing.
func ParseMode(srvr string) string {
	for line := range strings.Lines(srvr) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode)
		}
	}
	return ""
}
