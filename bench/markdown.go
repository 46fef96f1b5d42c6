package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// unlabelled stands for the label of runs that have none.
const unlabelled = "no label"

// print writes a report as Markdown.
func (rep *report) print(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# Results of halley bench\n\n")
	rep.printHeader(out)
	for _, s := range rep.sections {
		fmt.Fprintf(out, "\n## %s\n", s.scenario)
		printCharts(out, s.charts)
		for _, p := range s.parts {
			if len(s.parts) > 1 || p.label != "" {
				fmt.Fprintf(out, "\n### %s\n", line(cmp.Or(p.label, unlabelled)))
			}
			p.print(out)
		}
	}
	return out.Flush()
}

// printHeader says where, when and how all was measured.
func (rep *report) printHeader(out io.Writer) {
	var machines, gos, versions, commands []string
	for _, r := range rep.results {
		machines = addNew(machines, r.Machine.String())
		gos = addNew(gos, r.Machine.Go)
		versions = addNew(versions, r.Version)
		commands = addNew(commands, command(r.Command))
	}
	const day = "2006-01-02 15:04:05"
	first, last := rep.results[0].Time.UTC(), rep.results[len(rep.results)-1].Time.UTC()
	when := first.Format(day)
	if last.After(first) {
		when += " to " + last.Format(day)
	}
	fmt.Fprint(out, "| | |\n|---|---|\n")
	for _, x := range [][2]string{
		{"machine", strings.Join(machines, "; ")}, {"Go", strings.Join(gos, ", ")}, {"halley bench", strings.Join(versions, ", ")},
		{"runs", fmt.Sprintf("%s, %s UTC", number(len(rep.results)), when)},
	} {
		fmt.Fprintf(out, "| %s | %s |\n", x[0], line(x[1]))
	}
	if len(machines) > 1 {
		fmt.Fprint(out, "\n**The runs are of different machines**: figures that stand beside each other may not be of the same.\n")
	}
	fmt.Fprint(out, "\nA cell is the median of a target's runs, with the least and the most of so many. Ratios are of pairs: a\n"+
		"target's first run with the other's first, and so on; the median, with the least and the most.\n"+
		"Of \"halley / goim\" 2.00 says that halley's figure was twice goim's. Faults are sums.\n")
	fmt.Fprint(out, "\nCommands, each once; the files of `--json` are left out, PID stands for numbers of processes, … for more\n"+
		"of the same:\n\n")
	printFenced(out, "sh", commands)
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %s, %.1f GB, Linux %s", cmp.Or(m.CPU, "unknown CPU"), plural(m.Cores, "core"), float64(m.Memory)/1e9, cmp.Or(m.Kernel, "unknown"))
}

// command is a command line as a shell takes it, without what differs between runs
// of the same and says nothing.
func command(args []string) string {
	words := []string{"halley"}
	for i := 0; i < len(args); i++ {
		flag, value, ok := strings.Cut(args[i], "=")
		show := flagValues[flag]
		switch {
		case show == nil:
			words = append(words, quote(args[i]))
			continue
		case ok:
			flag += "="
		case i+1 < len(args):
			i++
			flag, value = flag+" ", args[i]
		}
		if text := show(value); text != "" {
			words = append(words, flag+text)
		}
	}
	return strings.Join(words, " ")
}

// flagValues are the flags that are shown otherwise than they were given; empty is not
// at all.
var flagValues = map[string]func(string) string{
	"--json":       func(string) string { return "" },
	"--addr":       few,
	"--rest":       few,
	"--server-pid": pids,
}

// many is how long a list is that is shortened: those of many servers differ by their
// ports, which are others each time.
const many = 4

// few is a list, or its first if it is long.
func few(s string) string {
	if first, _, _ := strings.Cut(s, ","); strings.Count(s, ",") >= many-1 {
		return quote(first) + ",…"
	}
	return quote(s)
}

// pids is a list of NAME=PID without the numbers, and if it is long each name once.
func pids(s string) string {
	s = pid.ReplaceAllString(s, "${1}PID")
	list := strings.Split(s, ",")
	if len(list) < many {
		return quote(s)
	}
	var names []string
	for _, x := range list {
		names = addNew(names, x)
	}
	return quote(strings.Join(names, ",")) + ",…"
}

var digits = regexp.MustCompile(`\b\d[\d.,]*`)

var pid = regexp.MustCompile(`(^|[=,])\d+\b`)

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// print writes the table of a part, and below it what was wrong.
func (p *part) print(out io.Writer) {
	fmt.Fprintln(out)
	for i, shape := range p.shapes() {
		if i == 1 {
			fmt.Fprintln(out, "\n**Runs of different size are in this table**: give them labels (`--label`) to tell them apart. Others have:")
		}
		fmt.Fprintf(out, "%s.\n", line(shape))
	}
	fmt.Fprintln(out)
	head, rule := "| |", "|---|"
	for _, target := range p.targets {
		head += fmt.Sprintf(" %s, %s |", line(target), plural(len(p.runs[target]), "run"))
		rule += "---:|"
	}
	if len(p.targets) == 2 {
		a, b := p.targets[0], p.targets[1]
		head += fmt.Sprintf(" %s / %s, %s |", line(a), line(b), plural(min(len(p.runs[a]), len(p.runs[b])), "pair"))
		rule += "---:|"
	}
	fmt.Fprintf(out, "%s\n%s\n", head, rule)
	for _, x := range p.rows {
		fmt.Fprintf(out, "| %s |", line(x.name))
		for _, target := range p.targets {
			fmt.Fprintf(out, " %s |", x.cell(target))
		}
		if len(p.targets) == 2 {
			fmt.Fprintf(out, " %s |", x.ratioCell(p.targets[0], p.targets[1]))
		}
		fmt.Fprintln(out)
	}
	p.printVerdict(out)
	printCharts(out, p.charts)
}

// shapes are how the runs were made, as far as figures depend on it.
func (p *part) shapes() (list []string) {
	for _, target := range p.targets {
		for _, r := range p.runs[target] {
			s := fmt.Sprintf("%s clients, %s to a room", number(r.Clients.Connections), number(r.Clients.RoomSize))
			for _, f := range r.Flows {
				if f.Offered > 0 && r.Floor == nil {
					s += fmt.Sprintf("; %s: %s/s offered", f.Name, rate(f.Offered))
				}
			}
			list = addNew(list, s)
		}
	}
	return list
}

// printVerdict lists failures as they are, and how many warnings of a kind there are.
func (p *part) printVerdict(out io.Writer) {
	var failures, kinds []string
	warnings := map[string][]string{} // by kind: the first, and of which runs they are
	for _, target := range p.targets {
		for i, r := range p.runs[target] {
			who := fmt.Sprintf("%s, run %d (%s)", target, i+1, r.Time.UTC().Format(time.TimeOnly))
			for _, f := range r.Failures {
				failures = append(failures, who+": "+f)
			}
			for _, w := range r.Warnings {
				kind := digits.ReplaceAllString(w, "N")
				if warnings[kind] == nil {
					warnings[kind], kinds = []string{w}, append(kinds, kind)
				}
				warnings[kind] = append(warnings[kind], target)
			}
		}
	}
	if len(failures) == 0 {
		fmt.Fprintln(out, "\nNo run has failed.")
	} else {
		fmt.Fprint(out, "\n**What has failed:**\n\n")
		printFenced(out, "text", failures)
	}
	if len(kinds) > 0 {
		fmt.Fprint(out, "\nWarnings:\n\n")
	}
	for _, kind := range kinds {
		first, of := warnings[kind][0], warnings[kind][1:]
		fmt.Fprintf(out, "- %s (%s): %s\n", plural(len(of), "time"), counted(of), line(first))
	}
}

// counted is how often each word is in a list, whose equal words stand together.
func counted(list []string) string {
	var parts []string
	for len(list) > 0 {
		n := len(list)
		if i := slices.IndexFunc(list, func(s string) bool { return s != list[0] }); i >= 0 {
			n = i
		}
		parts = append(parts, fmt.Sprintf("%s %d", line(list[0]), n))
		list = list[n:]
	}
	return strings.Join(parts, ", ")
}

// printFenced writes lines as they are, in a block.
func printFenced(out io.Writer, language string, lines []string) {
	text := strings.Join(lines, "\n")
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	fmt.Fprintf(out, "%s%s\n%s\n%s\n", fence, language, text, fence)
}

func printCharts(out io.Writer, charts []chartFile) {
	for _, c := range charts {
		fmt.Fprintf(out, "\n![%s](%s)\n", line(c.title), c.link)
	}
}

// line is text that does not end the cell or line that it is in, nor is Markdown.
func line(s string) string { return markdown.Replace(s) }

var markdown = strings.NewReplacer("\n", " ", "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, "[", `\[`, "]", `\]`)

// addNew is list with s, if it was not there.
func addNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
