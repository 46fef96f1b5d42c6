package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"
)

// EnvPrefix begins the name of every environment variable.
const EnvPrefix = "HALLEY"

// Parser parses command lines into one struct.
type Parser struct {
	kong *kong.Kong
	file map[string]string // values by flag name, from the file
}

// New makes a parser for cli, a pointer to kong's kind of struct. Its settings
// are the fields that have a dot in their flag's name. options are kong's.
func New(cli any, options ...kong.Option) (*Parser, error) {
	p := &Parser{}
	options = append(options,
		kong.PostBuild(defaultsFromValues),
		kong.DefaultEnvars(EnvPrefix),
		kong.Resolvers(kong.ResolverFunc(p.resolve)),
	)
	k, err := kong.New(cli, options...)
	if err != nil {
		return nil, err
	}
	p.kong = k
	return p, nil
}

// defaultsFromValues makes the values that the struct has now the defaults, so
// that they stand in one place: each service's Default function.
func defaultsFromValues(k *kong.Kong) error {
	for _, f := range k.Model.Flags {
		if IsSetting(f) && !f.Target.IsZero() {
			f.Default, f.HasDefault = format(f.Target), true
		}
	}
	return nil
}

// IsSetting says that a flag is a key of the configuration, not an option of the
// command line alone.
func IsSetting(f *kong.Flag) bool { return strings.Contains(f.Name, ".") }

// Key is a setting's name in the file.
func Key(f *kong.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// Parse reads file, if it is not empty, and then args. Errors of the file name
// it; those of a value name the key or the flag.
func (p *Parser) Parse(file string, args []string) (*kong.Context, error) {
	if file != "" {
		if err := p.read(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return p.kong.Parse(args)
}

// Model is the command line's description.
func (p *Parser) Model() *kong.Application { return p.kong.Model }

func (p *Parser) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errors.Unwrap(err) // the path is in the message already
	}
	var sections map[string]any
	if err := toml.Unmarshal(text, &sections); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return err
	}
	p.file = map[string]string{}
	return p.flatten("", sections)
}

// flatten stores the values under the names of their flags.
func (p *Parser) flatten(prefix string, table map[string]any) error {
	names := p.settings()
	for key, value := range table {
		key = prefix + key
		if sub, ok := value.(map[string]any); ok {
			if err := p.flatten(key+".", sub); err != nil {
				return err
			}
			continue
		}
		name := strings.ReplaceAll(key, "_", "-")
		if !slices.Contains(names, name) || strings.Contains(key, "-") {
			return fmt.Errorf("unknown key %s; deploy/halley.toml has them all", key)
		}
		text, err := plain(value)
		if err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
		p.file[name] = text
	}
	return nil
}

func (p *Parser) settings() (names []string) {
	for _, f := range p.kong.Model.Flags {
		if IsSetting(f) {
			names = append(names, f.Name)
		}
	}
	return names
}

// plain turns a TOML value into what a flag would take.
func plain(v any) (string, error) {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok || strings.Contains(s, ",") {
				return "", fmt.Errorf("a list of strings without commas is allowed, not %v", e)
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	case string, bool, int64, float64:
		return fmt.Sprint(v), nil
	default:
		return "", fmt.Errorf("a string, number, boolean or list of strings is allowed, not %T", v)
	}
}

// resolve gives kong a value from the file, unless the environment has one.
func (p *Parser) resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	for _, env := range f.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	if v, ok := p.file[f.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// format writes a value as a flag takes it.
func format(v reflect.Value) string {
	if s, ok := v.Interface().([]string); ok {
		return strings.Join(s, ",")
	}
	return fmt.Sprint(v.Interface())
}

// Print writes the settings in effect as a TOML file that Parse reads. The value
// of a field tagged secret:"true" is not shown. With help, each key has its
// meaning above it.
func (p *Parser) Print(w io.Writer, help bool) error {
	section := ""
	for _, f := range p.kong.Model.Flags {
		if !IsSetting(f) {
			continue
		}
		name, key, _ := strings.Cut(Key(f), ".")
		if name != section {
			if section != "" {
				fmt.Fprintln(w)
			}
			section = name
			fmt.Fprintf(w, "[%s]\n", section)
		}
		if help {
			fmt.Fprintf(w, "\n# %s\n", strings.ReplaceAll(f.Help, "\n", "\n# "))
		}
		value, err := tomlValue(f)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s = %s\n", key, value); err != nil {
			return err
		}
	}
	return nil
}

func tomlValue(f *kong.Flag) (string, error) {
	v := f.Target.Interface()
	if f.Tag.Has("secret") && !f.Target.IsZero() {
		v = "(set, not shown)"
	}
	if s, ok := v.(fmt.Stringer); ok {
		v = s.String()
	}
	if s, ok := v.([]string); ok && s == nil {
		v = []string{}
	}
	out, err := toml.Marshal(map[string]any{"v": v})
	if err != nil {
		return "", fmt.Errorf("key %s: %w", Key(f), err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "v = ")), nil
}
