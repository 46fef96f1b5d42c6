package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/halley-im/halley"

// mayImport is the whole of the architecture in one table: which packages of
// ours each package may import. Tests may import what is in onlyTests too.
// The four roles never import each other, and none of them imports a backend.
var mayImport = map[string][]string{
	"pkg/protocol": {},
	"pkg/ws":       {},
	"pkg/cluster":  {},
	"pkg/auth":     {},
	"pkg/config":   {},
	"pkg/rooms":    {},
	"pkg/sysmem":   {},
	"pkg/tlsloop":  {},
	"pkg/push":     {"pkg/protocol", "pkg/cluster"},
	"pkg/rpc":      {"pkg/protocol", "pkg/push", "pkg/cluster"},
	"pkg/spool":    {"pkg/push"},
	"pkg/memory":   {"pkg/push", "pkg/cluster"},
	"pkg/redis":    {"pkg/push", "pkg/cluster"},
	"pkg/kafka":    {"pkg/push"},

	"gateway":    {"pkg/protocol", "pkg/ws", "pkg/tlsloop", "pkg/push", "pkg/cluster", "pkg/rooms", "pkg/rpc", "pkg/sysmem"},
	"logic":      {"pkg/protocol", "pkg/push", "pkg/cluster", "pkg/auth", "pkg/rpc", "pkg/spool"},
	"logic/rest": {"logic", "pkg/protocol", "pkg/push", "pkg/cluster", "pkg/auth", "pkg/spool"},
	"job":        {"pkg/push", "pkg/cluster"},

	"bench":        {"bench/swarm", "bench/pusher", "bench/floor", "bench/stamp", "bench/work", "bench/chart", "pkg/protocol", "pkg/ws"},
	"bench/swarm":  {"bench/stamp", "bench/work", "pkg/protocol", "pkg/ws"},
	"bench/pusher": {"bench/swarm", "bench/stamp", "bench/work"},
	"bench/floor":  {"bench/stamp", "bench/work", "pkg/protocol", "pkg/ws"},
	"bench/stamp":  {},
	"bench/chart":  {},
	"bench/work":   {},

	"pkg/testkit":     {"pkg/protocol", "pkg/ws"},
	"pkg/wstest":      {"pkg/ws"},
	"pkg/backendtest": {"pkg/push", "pkg/cluster", "pkg/testkit"},
}

// onlyTests may import these, besides the packages in whose row they are.
var onlyTests = []string{"pkg/testkit", "pkg/wstest", "pkg/backendtest", "bench/swarm", "bench/floor", "bench/stamp", "bench/work"}

// TestImports parses every file itself: asking `go list` once gave a cached pass.
func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for pkg, files := range sources(t) {
		if pkg == "" {
			checkBackends(t, files)
			continue
		}
		seen[pkg] = true
		allowed, ok := mayImport[pkg]
		if !ok {
			t.Errorf("%s has no row in mayImport", pkg)
			continue
		}
		for name, file := range files {
			for _, imp := range ours(file) {
				isTest := strings.HasSuffix(name, "_test.go")
				if imp == pkg || slices.Contains(allowed, imp) || isTest && slices.Contains(onlyTests, imp) {
					continue
				}
				if isTest && backendTestOf(pkg, imp) {
					continue
				}
				t.Errorf("%s: %s may not import %s", name, pkg, imp)
			}
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("mayImport has a row for %s, which does not exist", pkg)
		}
	}
}

// backendTestOf lets the tests of roles run on the embedded backends.
func backendTestOf(pkg, imp string) bool {
	return slices.Contains([]string{"logic", "logic/rest", "job"}, pkg) && slices.Contains([]string{"pkg/memory", "pkg/spool"}, imp)
}

// checkBackends: in the main package only wire.go names the backends' parts;
// settings.go names those that have settings.
func checkBackends(t *testing.T, files map[string]*ast.File) {
	for name, file := range files {
		for _, imp := range ours(file) {
			backend := slices.Contains([]string{"pkg/memory", "pkg/redis", "pkg/kafka"}, imp)
			if backend && name != "wire.go" && (name != "settings.go" || imp == "pkg/memory") {
				t.Errorf("%s imports %s; wire.go is the composition root", name, imp)
			}
		}
	}
}

// Every package says in its doc.go what it is.
func TestPackageDocs(t *testing.T) {
	for pkg, files := range sources(t) {
		documented := false
		for name, file := range files {
			doc := file.Doc.Text()
			isDoc := filepath.Base(name) == "doc.go" || pkg == "" && name == "main.go"
			documented = documented || isDoc && len(doc) > 100
		}
		if !documented {
			t.Errorf("package %q has no doc.go with a package comment", pkg)
		}
	}
}

// Files and functions that have grown beyond reading.
func TestSizes(t *testing.T) {
	const maxFile, maxFunc = 700, 100
	for _, files := range sources(t) {
		for name, file := range files {
			lines := func(n ast.Node) int {
				return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
			}
			if n := lines(file); n > maxFile {
				t.Errorf("%s has %d lines, at most %d", name, n, maxFile)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && lines(f) > maxFunc {
					t.Errorf("%s: %s has %d lines, at most %d", name, f.Name.Name, lines(f), maxFunc)
				}
			}
		}
	}
}

var fset = token.NewFileSet()

// sources parses every Go file, by package folder ("" is the root) and path.
func sources(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	all := map[string]map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "tools" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		if all[dir] == nil {
			all[dir] = map[string]*ast.File{}
		}
		all[dir][path] = file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %v", slices.Collect(maps.Keys(all)))
	}
	return all
}

// ours are the imports of a file that belong to this module, without its path.
func ours(file *ast.File) (list []string) {
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if rest, ok := strings.CutPrefix(path, module+"/"); err == nil && ok {
			list = append(list, rest)
		}
	}
	return list
}

// The documented sizes of documents.
func TestDocumentSizes(t *testing.T) {
	for name, limit := range map[string]int{"README.md": 150, "ARCHITECTURE.md": 300, "CONTRIBUTING.md": 150} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), "\n"); n > limit {
			t.Errorf("%s has %d lines, at most %d", name, n, limit)
		}
	}
}
