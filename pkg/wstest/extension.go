package wstest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// extension is one element of Sec-WebSocket-Extensions: what was offered or what
// was agreed. A parameter without a value has "".
type extension struct {
	name   string
	params []param
}

type param struct{ name, value string }

const permessageDeflate = "permessage-deflate"

// Parameters of permessage-deflate, RFC 7692 §7.1.
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverBits       = "server_max_window_bits"
	clientBits       = "client_max_window_bits"
)

// has gives the value of a parameter.
func (e *extension) has(name string) (value string, ok bool) {
	for _, p := range e.params {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// bits is the value of a parameter that is a number of window bits, 15 if it is
// not there.
func (e *extension) bits(name string) int {
	value, _ := e.has(name)
	if n, err := strconv.Atoi(value); err == nil {
		return n
	}
	return 15
}

// extensionWant is what must become of the offer of permessage-deflate.
type extensionWant int

const (
	maybeCompressed extensionWant = iota
	compressed                    // it must be accepted
	uncompressed                  // it must be declined
)

// agree checks the extensions of an answer against those of the request.
func (c *client) agree(got, sent []string, want extensionWant, target *Target) error {
	list, err := parseExtensions(got)
	if err != nil {
		return fmt.Errorf("§9.1: Sec-WebSocket-Extensions %q: %w", got, err)
	}
	if len(list) > 1 {
		return fmt.Errorf("§9.1: Sec-WebSocket-Extensions %q: one extension was offered", got)
	}
	switch {
	case len(list) == 0 && want == compressed && target.Deflate:
		return fmt.Errorf("RFC 7692 §7.1: permessage-deflate is declined, offered was %q", sent)
	case len(list) == 0:
		return nil
	case want == uncompressed:
		return fmt.Errorf("RFC 7692 §7.1: %q is accepted, a server must decline %q", got, sent)
	}
	offers, err := parseExtensions(sent)
	if err != nil {
		return fmt.Errorf("§9.1: %q is the answer to a malformed offer %q", got, sent)
	}
	if err := checkAgreed(&list[0], offers); err != nil {
		return fmt.Errorf("%q is the answer to %q: %w", got, sent, err)
	}
	c.agreed = list[0]
	c.inflater.noTakeover = hasParam(&c.agreed, serverNoTakeover)
	c.inflater.window = 1 << c.agreed.bits(serverBits)
	c.deflater.noTakeover = hasParam(&c.agreed, clientNoTakeover)
	return nil
}

func hasParam(e *extension, name string) bool {
	_, ok := e.has(name)
	return ok
}

// checkAgreed: the answer is correct in itself and fits one of the offers that
// are.
func checkAgreed(agreed *extension, offers []extension) error {
	if err := agreed.valid(false); err != nil {
		return err
	}
	err := errors.New("nothing like it was offered")
	for i := range offers {
		if offers[i].valid(true) != nil {
			continue
		}
		if err = agreed.fits(&offers[i]); err == nil {
			return nil
		}
	}
	return err
}

// valid checks names and values, RFC 7692 §7.1. client_max_window_bits may be
// without a value in an offer only.
func (e *extension) valid(offer bool) error {
	if e.name != permessageDeflate {
		return fmt.Errorf("extension %q", e.name)
	}
	for i, p := range e.params {
		if slices.ContainsFunc(e.params[:i], func(q param) bool { return q.name == p.name }) {
			return fmt.Errorf("%s twice", p.name)
		}
		bits := slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, p.value)
		ok := false
		switch p.name {
		case serverNoTakeover, clientNoTakeover:
			ok = p.value == ""
		case serverBits:
			ok = bits
		case clientBits:
			ok = bits || offer && p.value == ""
		}
		if !ok {
			return fmt.Errorf("parameter %s=%s", p.name, p.value)
		}
	}
	return nil
}

// fits checks that a server may accept offer with e.
func (e *extension) fits(offer *extension) error {
	if hasParam(offer, serverNoTakeover) && !hasParam(e, serverNoTakeover) {
		return errors.New("§7.1.1.1: server_no_context_takeover must be in the answer")
	}
	if hasParam(offer, serverBits) && (!hasParam(e, serverBits) || e.bits(serverBits) > offer.bits(serverBits)) {
		return errors.New("§7.1.2.1: server_max_window_bits must be in the answer, not larger than in the offer")
	}
	if hasParam(e, clientBits) && (!hasParam(offer, clientBits) || e.bits(clientBits) > offer.bits(clientBits)) {
		return errors.New("§7.1.2.2: client_max_window_bits must not be in the answer, or not larger than in the offer")
	}
	return nil
}

// parseExtensions reads header values by the grammar of RFC 6455 §9.1: a quoted
// value must be a token when its quotes are gone.
func parseExtensions(values []string) (list []extension, err error) {
	for _, v := range values {
		for element := range strings.SplitSeq(v, ",") { // no token has a comma in it, not even quoted
			if element = strings.Trim(element, " \t"); element == "" {
				continue // RFC 9110 §5.6.1: recipients ignore empty elements
			}
			var e extension
			for i, part := range strings.Split(element, ";") {
				p, err := parseParam(strings.Trim(part, " \t"))
				if err != nil {
					return nil, err
				}
				if i == 0 {
					e.name = p.name
				} else {
					e.params = append(e.params, p)
				}
			}
			list = append(list, e)
		}
	}
	return list, nil
}

func parseParam(s string) (p param, err error) {
	name, value, hasValue := strings.Cut(s, "=")
	name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if !isToken(name) || hasValue && !isToken(value) {
		return param{}, fmt.Errorf("malformed parameter %q", s)
	}
	return param{name, value}, nil
}

func isToken(s string) bool {
	const separators = "()<>@,;:\\\"/[]?={} \t"
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(separators, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}
