package rooms

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what Parse accepts.
const (
	// MaxRules is how many rules there may be: every room is compared with them.
	MaxRules = 256
	// MaxRule is how long a rule may be, in bytes: room ids have 256 at most.
	MaxRule = 512
	// MaxCoalesce bounds the option coalesce: people notice longer delays.
	MaxCoalesce = 50 * time.Millisecond
)

// Policy says what becomes of messages to a member that reads so slowly that
// more waits for it than the gateway keeps.
type Policy uint8

// The policies of the option slow.
const (
	Close    Policy = iota // the member is closed; it may come back and resume
	Drop                   // new messages are left out until there is room again
	Conflate               // only the room's latest message is kept for it
	policies
)

var policyNames = [policies]string{"close", "drop", "conflate"}

// String is the policy as rules have it.
func (p Policy) String() string {
	if p < policies {
		return policyNames[p]
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// Options are what holds for one room. The zero value has the defaults.
type Options struct {
	// Coalesce is how long followers of a message wait to leave together, from 0
	// (they do not) to MaxCoalesce in whole milliseconds. The first message after
	// a pause of that length leaves at once (leading edge).
	Coalesce time.Duration
	// Slow is what becomes of a member's messages when it reads too slowly.
	Slow Policy
}

// optionSet has a bit for each option.
type optionSet uint8

const (
	optionCoalesce optionSet = 1 << iota
	optionSlow
	allOptions = 1<<iota - 1
)

// rule is a rule as Match needs it.
type rule struct {
	pattern pattern
	sets    optionSet
	options Options
}

// Rules are parsed rules in their order. They never change, so any number of
// goroutines may use them. Nil and the zero value have no rules.
type Rules struct{ rules []rule }

// Parse reads rules as package rooms describes them: a pattern and at least one
// option, option=value, with white space between them. There are at most MaxRules
// of MaxRule bytes each. The error names the rule and the option, and says what is
// allowed.
func Parse(rules []string) (*Rules, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d rules: at most %d are allowed", len(rules), MaxRules)
	}
	parsed := make([]rule, len(rules))
	for i, text := range rules {
		if len(text) > MaxRule {
			return nil, fmt.Errorf("rule %d has %d bytes: at most %d are allowed", i+1, len(text), MaxRule)
		}
		r, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("rule %d %q: %w", i+1, text, err)
		}
		parsed[i] = r
	}
	return &Rules{parsed}, nil
}

// Match is what holds for the room whose id, without an app's prefix, is room. It
// does not allocate and compares the id with every rule at most once.
func (r *Rules) Match(room string) Options {
	var o Options
	if r == nil {
		return o
	}
	var decided optionSet
	for i := range r.rules {
		x := &r.rules[i]
		news := x.sets &^ decided
		if news == 0 || !x.pattern.matches(room) {
			continue
		}
		if news&optionCoalesce != 0 {
			o.Coalesce = x.options.Coalesce
		}
		if news&optionSlow != 0 {
			o.Slow = x.options.Slow
		}
		if decided |= news; decided == allOptions {
			break
		}
	}
	return o
}

func parseRule(text string) (r rule, err error) {
	words := strings.Fields(text)
	if len(words) < 2 {
		return rule{}, errors.New("a pattern and options are needed, as in live://* coalesce=20ms slow=drop")
	}
	if err := checkPattern(words[0]); err != nil {
		return rule{}, err
	}
	r.pattern = compile(words[0])
	for _, word := range words[1:] {
		if err := r.set(word); err != nil {
			return rule{}, err
		}
	}
	return r, nil
}

// set reads one option.
func (r *rule) set(word string) (err error) {
	name, value, _ := strings.Cut(word, "=")
	var option optionSet
	switch name {
	case "coalesce":
		option = optionCoalesce
		r.options.Coalesce, err = parseCoalesce(value)
	case "slow":
		option = optionSlow
		r.options.Slow, err = parsePolicy(value)
	default:
		return fmt.Errorf("option %q: coalesce=TIME and slow=POLICY are allowed", word)
	}
	if err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	if r.sets&option != 0 {
		return fmt.Errorf("option %s comes twice: once is allowed", name)
	}
	r.sets |= option
	return nil
}

func parseCoalesce(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > MaxCoalesce || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q: whole milliseconds from 0 to %v are allowed, as in 20ms", value, MaxCoalesce)
	}
	return d, nil
}

func parsePolicy(value string) (Policy, error) {
	for p, name := range policyNames {
		if value == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("%q: close, drop or conflate is allowed", value)
}

// checkPattern refuses what is no room's id: somebody forgot something.
func checkPattern(p string) error {
	if !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		return fmt.Errorf("pattern %q: UTF-8 without control characters is allowed", p)
	}
	if !strings.Contains(p, "*") && !strings.Contains(p, "://") {
		return fmt.Errorf("pattern %q: a room's id, type://id, in which * stands for anything is allowed", p)
	}
	return nil
}
