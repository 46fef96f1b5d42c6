// Command halley is a push gateway for extreme connection density.
//
// Without a command it runs everything in one process on embedded parts. The
// commands gateway, logic and job run one role each, over Redis and Kafka. See
// README.md for a start and ARCHITECTURE.md for how it is made.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/halley-im/halley/bench"
	"github.com/halley-im/halley/pkg/config"
)

// version is set when a release is built.
var version = "dev"

// cli is the command line. Fields of settings are the keys of the configuration.
type cli struct {
	Config    string   `short:"c" placeholder:"FILE" help:"TOML file with settings; deploy/halley.toml documents every key."`
	Check     bool     `help:"Validate the configuration, print it without secrets, and exit."`
	ReadyFile string   `placeholder:"FILE" help:"Write the addresses really bound to this file, as JSON, when work can be taken."`
	Settings  settings `kong:"-"` // newParser adds them, section by section

	All     struct{}  `cmd:"" default:"1" help:"Run all roles in this process on embedded parts (default)."`
	Gateway struct{}  `cmd:"" help:"Run a gateway: it holds client connections."`
	Logic   struct{}  `cmd:"" help:"Run a logic node: REST API, authentication, registry."`
	Job     struct{}  `cmd:"" help:"Run a job: it takes pushes from the queue to the gateways."`
	Push    pushCmd   `cmd:"" help:"Push a message through a logic node's REST API."`
	Bench   bench.Cmd `cmd:"" help:"Measure a server from outside, halley or goim."`
	Version struct{}  `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "halley: "+err.Error())
		os.Exit(1)
	}
}

// helpPrinted ends run after help was printed.
type helpPrinted struct{}

// run is halley without the process around it. It returns when the command is
// done or, for roles, when ctx has ended and everything was stopped.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c := cli{Settings: defaultSettings()}
	parser, err := newParser(&c, args, stdout, stderr)
	if err != nil {
		return err
	}
	// kong ends the process after --help; here the caller decides.
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case helpPrinted:
			err = nil
		default:
			panic(p)
		}
	}()
	parsed, err := parser.Parse(configFile(args), args)
	if err != nil {
		return fmt.Errorf("%w (see halley --help)", err)
	}
	command := parsed.Selected().Name
	switch {
	case command == "version":
		_, err := fmt.Fprintln(stdout, "halley "+version)
		return err
	case groupOf(parsed) == "push":
		return c.Push.run(ctx, command, stdout)
	case groupOf(parsed) == "bench":
		return c.Bench.Run(ctx, command, bench.Env{Args: args, Version: version, Stdout: stdout, Stderr: stderr})
	}
	roles := rolesOf(command)
	if err := c.Settings.validate(roles); err != nil {
		return err
	}
	if c.Check {
		return parser.Print(stdout, false)
	}
	return runRoles(ctx, c.Settings, roles, c.ReadyFile, stderr)
}

// groupOf is the command that has the selected one below it, if any.
func groupOf(parsed *kong.Context) string {
	if p := parsed.Selected().Parent; p != nil {
		return p.Name
	}
	return ""
}

// newParser makes the parser. Help lists the settings of the role that args
// name, so that it can be read.
func newParser(c *cli, args []string, stdout, stderr io.Writer) (*config.Parser, error) {
	options := append(c.Settings.sections(),
		kong.Name("halley"),
		kong.Description("A push gateway for extreme connection density.\n\n"+
			"Every setting is a flag (--gateway.ws-addr), an environment variable (HALLEY_GATEWAY_WS_ADDR) and a key "+
			"of the file (ws_addr under [gateway]), in this order of precedence. `halley all --help` lists them all."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { panic(helpPrinted{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.PostBuild(func(k *kong.Kong) error {
			for _, f := range k.Model.Flags {
				f.Hidden = config.IsSetting(f) && !sectionOf(f, args)
			}
			return nil
		}),
	)
	parser, err := config.New(c, options...)
	if err == nil {
		forgetEnvars(parser.Model().Node)
	}
	return parser, err
}

// forgetEnvars takes the options of bench from the environment: HALLEY_RATE would
// say something else to each of its commands.
func forgetEnvars(n *kong.Node) {
	for _, child := range n.Children {
		if child.Name == "bench" || n.Name == "bench" {
			for _, f := range child.Flags {
				f.Envs, f.Tag.Envs = nil, nil
			}
		}
		forgetEnvars(child)
	}
}

// configFile finds -c in args before they are parsed: the file's values must be
// known by then.
func configFile(args []string) string {
	for i, a := range args {
		switch {
		case a == "--":
			return ""
		case (a == "-c" || a == "--config") && i+1 < len(args):
			return args[i+1]
		case len(a) > 9 && a[:9] == "--config=":
			return a[9:]
		}
	}
	return os.Getenv(config.EnvPrefix + "_CONFIG")
}
