package admin

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// notServing is what ZooKeeper answers, in words and in commands, when it has
// no quorum.
const notServing = "This ZooKeeper instance is not currently serving requests"

// FourLetter answers four-letter words. Make one with NewFourLetter. It may be
// used by several goroutines.
type FourLetter struct {
	surface *Surface
	allowed map[string]bool
}

// NewFourLetter answers the words of the whitelist, 4lw.commands.whitelist:
// "*" stands for all. ZooKeeper's default is srvr alone.
func NewFourLetter(s *Surface, whitelist ...string) *FourLetter {
	h := &FourLetter{surface: s, allowed: make(map[string]bool)}
	for _, w := range whitelist {
		if w = strings.TrimSpace(w); w != "*" {
			h.allowed[w] = true
			continue
		}
		for name := range words {
			h.allowed[name] = true
		}
	}
	return h
}

// word is one four-letter word.
type word struct {
	// always: it is answered also when the member does not serve.
	always bool
	// arg is the number of bytes that follow the word.
	arg int
	// answer writes the answer. Errors of out keep until its Flush.
	answer func(s *Surface, st *Status, arg []byte, out *bufio.Writer)
}

var words = map[string]word{
	"conf": {answer: answerConf},
	"cons": {answer: answerCons},
	"crst": {answer: answerCrst},
	"dirs": {answer: answerDirs},
	"dump": {answer: answerDump},
	"envi": {answer: answerEnvi, always: true},
	"gtmk": {answer: answerGtmk, always: true},
	"hash": {answer: answerHash},
	"isro": {answer: answerIsro, always: true},
	"mntr": {answer: answerMntr},
	"ruok": {answer: answerRuok, always: true},
	"srst": {answer: answerSrst},
	"srvr": {answer: answerSrvr},
	"stat": {answer: answerStat},
	"stmk": {answer: answerStmk, always: true, arg: 8},
	"wchc": {answer: answerWchc},
	"wchp": {answer: answerWchp},
	"wchs": {answer: answerWchs},
}

// IsWord reports whether v, the first four bytes of a connection in network
// order, is a four-letter word and not the length of a handshake. No word is a
// length that a handshake may have.
func (h *FourLetter) IsWord(v uint32) bool {
	_, ok := words[string(binary.BigEndian.AppendUint32(nil, v))]
	return ok
}

// ArgLen returns how many bytes of argument follow a word: 8 for stmk, 0 for
// all others.
func (h *FourLetter) ArgLen(v uint32) int {
	return words[string(binary.BigEndian.AppendUint32(nil, v))].arg
}

// Handle writes the answer to a word to w, or why it is not answered. It
// returns false, and writes nothing, if there is no such word. What a failing
// w loses is lost: the client has gone.
func (h *FourLetter) Handle(name [4]byte, w io.Writer) (known bool) {
	return h.HandleArg(name, nil, w)
}

// HandleArg is Handle for a word with the argument that followed it, as many
// bytes of ArgLen as came.
func (h *FourLetter) HandleArg(name [4]byte, arg []byte, w io.Writer) (known bool) {
	entry, ok := words[string(name[:])]
	if !ok {
		return false
	}
	out := bufio.NewWriterSize(w, 16<<10)
	defer out.Flush()
	if !h.allowed[string(name[:])] {
		fmt.Fprintf(out, "%s is not executed because it is not in the whitelist.\n", name[:])
		return true
	}
	st := h.surface.Source.Status()
	if !st.Serving && !entry.always {
		out.WriteString(notServing + "\n")
		return true
	}
	entry.answer(h.surface, &st, arg, out)
	return true
}
