package cluster

import "testing"

// What Scope joins Unscope splits; the empty app leaves names as they are.
func TestScope(t *testing.T) {
	f := func(app, name, want string) {
		t.Helper()
		got := Scope(app, name)
		if got != want {
			t.Errorf("Scope(%q, %q) = %q, want %q", app, name, got, want)
		}
		if a, n := Unscope(got); a != app || n != name {
			t.Errorf("Unscope(%q) = %q, %q", got, a, n)
		}
	}
	f("", "live://1", "live://1")
	f("", "", "")
	f("shop", "live://1", "shop\x1flive://1")
	f("shop", "", "shop\x1f")
}
