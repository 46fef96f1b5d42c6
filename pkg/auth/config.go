package auth

import (
	"fmt"
	"net"
	"net/netip"
)

// ModeOpen trusts what the token says, as goim does.
const ModeOpen = "open"

// Config says how clients are authenticated.
type Config struct {
	Mode         string `help:"how clients prove who they are: open (the token is trusted, as goim does)"`
	InsecureOpen bool   `help:"allow mode open on addresses that others can reach. Off: anybody there could be any user"`
}

// Default is open mode, which CheckListeners confines to this machine.
func Default() Config { return Config{Mode: ModeOpen} }

// Validate checks the configuration by itself.
func (c Config) Validate() error {
	if c.Mode != ModeOpen {
		return fmt.Errorf("auth.mode: %q, only %q is known", c.Mode, ModeOpen)
	}
	return nil
}

// CheckListeners refuses open mode on client listeners that others can reach.
// An address is HOST:PORT; an empty one is no listener. Only a loopback IP or
// the name localhost counts as this machine: other names may change their
// meaning after the start.
func (c Config) CheckListeners(addrs ...string) error {
	if c.Mode != ModeOpen || c.InsecureOpen {
		return nil
	}
	for _, addr := range addrs {
		if addr == "" {
			continue
		}
		local, err := loopback(addr)
		if err != nil {
			return err
		}
		if !local {
			return fmt.Errorf("auth.mode open on %s: anybody who reaches that address could be any user; "+
				"listen on 127.0.0.1, or set auth.insecure_open", addr)
		}
	}
	return nil
}

func loopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("listener %q: %w", addr, err)
	}
	if host == "localhost" {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, nil // a name, or "": every interface
	}
	return ip.Unmap().IsLoopback(), nil
}
