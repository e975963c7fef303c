package member

import "errors"

func (m *Member) formOrJoin() error { return errors.New("not yet") }
