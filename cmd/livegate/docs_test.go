package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// docs/cli.md is a promise: every command, flag and variable stands in it, and it
// names none that does not exist.
func TestDocumentationIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	known := map[string]bool{tokenVariable: true}
	if !strings.Contains(doc, "`"+tokenVariable+"`") {
		t.Errorf("%s is not documented", tokenVariable)
	}
	check := func(cmd *cobra.Command) {
		for _, fs := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
			fs.VisitAll(func(f *pflag.Flag) {
				known["--"+f.Name] = true
				if f.Name != "help" && !strings.Contains(doc, "`--"+f.Name+"`") {
					t.Errorf("%s --%s is not documented", cmd.CommandPath(), f.Name)
				}
				for _, env := range f.Annotations[envAnnotation] {
					known[env] = true
					if !strings.Contains(doc, "`"+env+"`") {
						t.Errorf("%s is not documented", env)
					}
				}
			})
		}
	}
	root := (&cli{}).root()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		if !strings.Contains(doc, "\n## livegate "+cmd.Name()+"\n") {
			t.Errorf("livegate %s has no section", cmd.Name())
		}
		if cmd.Name() != "completion" {
			check(cmd)
		}
	}
	for _, m := range regexp.MustCompile("`(--[a-z-]+|LIVEGATE_[A-Z_]+)`").FindAllStringSubmatch(doc, -1) {
		if !known[m[1]] {
			t.Errorf("%s is documented and does not exist", m[1])
		}
	}
}
