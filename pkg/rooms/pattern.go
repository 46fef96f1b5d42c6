package rooms

import "strings"

// pattern is a room's id with stars, cut at them.
type pattern struct {
	head   string   // before the first star; all of it if there is none
	middle []string // between stars, without empty ones
	tail   string   // behind the last star
	star   bool     // there is one
}

func compile(text string) (p pattern) {
	pieces := strings.Split(text, "*")
	last := len(pieces) - 1
	p.head = pieces[0]
	if last == 0 {
		return p
	}
	p.star, p.tail = true, pieces[last]
	for _, piece := range pieces[1:last] {
		if piece != "" {
			p.middle = append(p.middle, piece)
		}
	}
	return p
}

// matches says that id can be had from the pattern by putting something in the
// place of each star. Taking the first place where a piece fits is enough: it
// leaves the most for the pieces behind it. So nothing is tried twice, unlike with
// a matcher that backtracks, for which a*a*a*… is the worst of patterns.
func (p *pattern) matches(id string) bool {
	if !p.star {
		return id == p.head
	}
	if len(id) < len(p.head)+len(p.tail) || !strings.HasPrefix(id, p.head) || !strings.HasSuffix(id, p.tail) {
		return false
	}
	id = id[len(p.head) : len(id)-len(p.tail)]
	for _, piece := range p.middle {
		i := strings.Index(id, piece)
		if i < 0 {
			return false
		}
		id = id[i+len(piece):]
	}
	return true
}
