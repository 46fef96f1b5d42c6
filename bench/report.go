package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// reportCmd shows results that runs have written.
type reportCmd struct {
	File []string `arg:"" help:"Results that --json has written; a directory stands for all *.json in it."`
	Dir  string   `placeholder:"DIR" help:"Draw charts too, as SVG files in this directory."`
}

func (c *reportCmd) show(out io.Writer) error {
	results, err := readResults(c.File)
	if err != nil {
		return err
	}
	rep := newReport(results)
	if c.Dir != "" {
		if err := rep.draw(c.Dir); err != nil {
			return err
		}
	}
	return rep.print(out)
}

// readResults reads files and directories of them, each file once, in order of time.
func readResults(names []string) (list []*Result, err error) {
	files, err := resultFiles(names)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		r, err := readResult(file)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	// Files come sorted by name, so that the order does not depend on how they were given.
	slices.SortStableFunc(list, func(a, b *Result) int { return a.Time.Compare(b.Time) })
	return list, nil
}

// resultFiles puts the files in the place of directories.
func resultFiles(names []string) (files []string, err error) {
	if len(names) == 0 {
		return nil, errors.New("no results were given")
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, filepath.Clean(name))
			continue
		}
		found, err := fs.Glob(os.DirFS(name), "*.json") // not filepath's: a name may have brackets
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no results (*.json) are in this directory", name)
		}
		for _, f := range found {
			files = append(files, filepath.Join(name, f))
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func readResult(file string) (*Result, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: not a result of halley bench: %w", file, err)
	}
	if r.Scenario == "" || r.Target == "" || r.Time.IsZero() {
		return nil, fmt.Errorf("%s: not a result of halley bench: it has no scenario, target or time", file)
	}
	return &r, nil
}

// report is results in the order in which they are shown.
type report struct {
	results  []*Result
	targets  []string
	sections []*section
}

// section is a scenario.
type section struct {
	scenario string
	parts    []*part
	charts   []chartFile
}

// part is the runs of a scenario with the same label: a table.
type part struct {
	scenario, label string
	targets         []string
	runs            map[string][]*Result // of a target, in order of time
	rows            []*row
	charts          []chartFile
}

// newReport sorts results, which come in order of time.
func newReport(results []*Result) *report {
	rep := &report{results: results}
	all := map[string][]*Result{}
	for _, r := range results {
		all[r.Target] = append(all[r.Target], r)
		p := rep.section(r.Scenario).part(r.Label)
		p.runs[r.Target] = append(p.runs[r.Target], r)
	}
	rep.targets = sortedTargets(all)
	for _, s := range rep.sections {
		for _, p := range s.parts {
			p.targets = sortedTargets(p.runs)
			p.fill()
		}
	}
	return rep
}

func (rep *report) section(scenario string) *section {
	for _, s := range rep.sections {
		if s.scenario == scenario {
			return s
		}
	}
	s := &section{scenario: scenario}
	rep.sections = append(rep.sections, s)
	return s
}

func (s *section) part(label string) *part {
	for _, p := range s.parts {
		if p.label == label {
			return p
		}
	}
	p := &part{scenario: s.scenario, label: label, runs: map[string][]*Result{}}
	s.parts = append(s.parts, p)
	return p
}

// sortedTargets puts halley first: ratios are halley's to the other's, whichever ran first.
func sortedTargets(runs map[string][]*Result) (list []string) {
	for target := range runs {
		list = append(list, target)
	}
	rank := func(target string) int {
		if target == "halley" {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return list
}

// title names a part. A scenario whose runs have one label is named by it too.
func (p *part) title() string {
	if p.label == "" {
		return p.scenario
	}
	return p.scenario + ", " + p.label
}
