package rooms

import "fmt"

// Config is what an operator may set under [rooms].
type Config struct {
	Rules []string `help:"what holds for rooms, first match first: a pattern with * and options, as 'live://* coalesce=20ms slow=drop'; coalesce: 0 to 50ms, slow: close, drop or conflate; comma-separated"`
}

// Default is the configuration that nobody wrote: no rules, all rooms have the
// defaults.
func Default() Config { return Config{} }

// Validate names the first rule that cannot be used, and says what is allowed.
func (c *Config) Validate() error {
	if _, err := Parse(c.Rules); err != nil {
		return fmt.Errorf("rooms.rules: %w", err)
	}
	return nil
}
