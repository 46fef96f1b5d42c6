package ws

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// CheckOrigins validates an allow-list of origins, for configuration. An entry is
// an origin as browsers send it (RFC 6454 §6.2: scheme, host, and a port unless it
// is the scheme's own), or one with "*." before the host for all its subdomains at
// any depth (not the host itself), or "*" for every origin. The error names the
// first bad entry.
func CheckOrigins(entries []string) error {
	for _, entry := range entries {
		if _, reason := parseOrigin(entry); reason != "" {
			return fmt.Errorf("origin %q: %s; allowed are https://app.example.com, https://*.example.com "+
				"(subdomains at any depth), a port behind either, and *", entry, reason)
		}
	}
	return nil
}

// origins is an allow-list; nil allows all.
type origins []originRule

// originRule is one entry in lower case. What stands for the "*" of "https://*.x"
// is between head and tail.
type originRule struct {
	head, tail string // "https://" and ".example.com"; head is all of it if not wild
	wild, any  bool
}

// newOrigins leaves out what CheckOrigins refuses: a bad entry allows nothing.
func newOrigins(entries []string) origins {
	if len(entries) == 0 {
		return nil
	}
	list := make(origins, 0, len(entries))
	for _, entry := range entries {
		if rule, reason := parseOrigin(entry); reason == "" {
			list = append(list, rule)
		}
	}
	return list
}

// allow says whether pages of this origin may connect.
func (list origins) allow(origin []byte) bool {
	if list == nil {
		return true
	}
	for i := range list {
		if list[i].match(origin) {
			return true
		}
	}
	return false
}

func (r *originRule) match(origin []byte) bool {
	if r.any || !r.wild {
		return r.any || is(origin, r.head)
	}
	end := len(origin) - len(r.tail)
	if end <= len(r.head) || !is(origin[:len(r.head)], r.head) || !is(origin[end:], r.tail) {
		return false
	}
	// Names only: "https://evil.net/.example.com" is no subdomain.
	for _, c := range origin[len(r.head):end] {
		if !nameChars.has(c) {
			return false
		}
	}
	return origin[len(r.head)] != '.'
}

// parseOrigin reads one entry; reason says what is wrong with it.
func parseOrigin(entry string) (rule originRule, reason string) {
	if entry == "*" {
		return originRule{any: true}, ""
	}
	scheme, rest, ok := strings.Cut(strings.ToLower(entry), "://")
	if !ok || !isScheme(scheme) {
		return rule, "it does not begin with a scheme and ://"
	}
	host, wild := strings.CutPrefix(rest, "*.")
	host, port, reason := cutPort(scheme, host)
	switch {
	case reason != "":
		return rule, reason
	case host == "" || !isName(host) && (wild || !strings.HasPrefix(host, "[")):
		return rule, "what follows :// is not just a host (no path, no slash, punycode for other letters)"
	case strings.HasPrefix(host, "["):
		ip, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || !strings.HasSuffix(host, "]") {
			return rule, "its address in brackets is not IPv6"
		}
		host = "[" + ip.String() + "]"
	}
	if wild {
		return originRule{head: scheme + "://", tail: "." + host + port, wild: true}, ""
	}
	return originRule{head: scheme + "://" + host + port}, ""
}

// cutPort splits what follows the scheme; port has its colon.
func cutPort(scheme, s string) (host, port, reason string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", ""
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	switch {
	case err != nil || n == 0 || s[i+1] == '0':
		return "", "", "its port is not a number from 1 to 65535"
	case scheme == "https" && n == 443 || scheme == "http" && n == 80:
		return "", "", "browsers leave out the port that is the scheme's own"
	}
	return s[:i], s[i:], ""
}

func isScheme(s string) bool {
	for i := range len(s) {
		if !schemeChars.has(s[i]) {
			return false
		}
	}
	return s != "" && s[0] >= 'a' && s[0] <= 'z'
}

// isName says that s is labels with dots between them.
func isName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
		for i := range len(label) {
			if !nameChars.has(label[i]) {
				return false
			}
		}
	}
	return true
}

var (
	schemeChars = newCharSet(alphanumeric + "+-.") // RFC 3986 §3.1
	nameChars   = newCharSet(alphanumeric + "-_.")
)
