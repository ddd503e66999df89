package frontdoor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// adapted begins the name of the changed copy of a configuration. It stands
// beside the original, because paths in it are relative to its directory.
const adapted = ".livegate-serverless"

// adaptation is what a configuration needs changed before a packager takes it.
type adaptation struct {
	// plugin says why a plugin cannot be loaded; "" keeps it.
	plugin func(name string) (why string)
	// foreign is set when the packager is not the one that the service asks for.
	foreign bool
	account string
	// leaveOut are patterns of files that are no part of the package; old is set for
	// packagers before version 3, which call them exclude.
	leaveOut []string
	old      bool
}

// change is one line of a configuration that was taken out or replaced.
type change struct {
	line          int
	severity      string
	message, hint string
}

var (
	topLevel = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*)[ \t]*:(?:[ \t]+(.*))?$`)
	listItem = regexp.MustCompile(`^[ \t]*-[ \t]+(.*)$`)
)

// section is a top-level key with the lines under it.
type section struct {
	key   string // "" for what stands before the first
	value string // on the key's line
	first int    // index of its line
	lines []string
}

// sections cuts YAML in block style at its top-level keys. A configuration in
// another style is one section without a key, which nothing changes.
func sections(text string) []section {
	out := []section{{}}
	for i, line := range strings.SplitAfter(text, "\n") {
		bare := strings.TrimRight(line, "\r\n")
		if m := topLevel.FindStringSubmatch(bare); m != nil {
			out = append(out, section{key: m[1], value: scalar(m[2]), first: i})
		}
		last := &out[len(out)-1]
		last.lines = append(last.lines, line)
	}
	return out
}

// scalar takes quotes and a comment off a plain value.
func scalar(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1 && (s[0] == '\'' || s[0] == '"') {
		if end := strings.IndexByte(s[1:], s[0]); end >= 0 {
			return s[1 : end+1]
		}
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	if strings.HasPrefix(s, "#") {
		return ""
	}
	return strings.TrimSpace(s)
}

// adapt returns the configuration as the packager needs it, and what was changed;
// without changes it is the same text.
func (a adaptation) adapt(text string) (string, []change) {
	var changes []change
	var b strings.Builder
	all := sections(text)
	hasParams := slices.ContainsFunc(all, func(s section) bool { return s.key == "params" })
	for _, s := range all {
		lines := strings.Join(s.lines, "")
		drop := func(severity, hint, format string, args ...any) {
			changes = append(changes, change{line: s.first + 1, severity: severity, message: fmt.Sprintf(format, args...), hint: hint})
		}
		switch {
		case s.key == "package":
			b.WriteString(a.without(s))
			continue
		case s.key == "plugins":
			kept, dropped := a.plugins(s)
			changes = append(changes, dropped...)
			b.WriteString(kept)
			continue
		case !a.foreign:
		case s.key == "frameworkVersion":
			drop("note", "", "The service asks for version %s of the framework; the packager used here reads all of them.", quote(s.value))
			continue
		case s.key == "configValidationMode", s.key == "deprecationNotificationMode":
			continue // replaced below
		case s.key == "build":
			drop("note", "", "The key build belongs to version 4 of the framework; TypeScript is built here instead.")
			continue
		case s.key == "stages" && !hasParams:
			params := stageParams(s)
			drop("warning", "Everything in stages but params is left out.", "The key stages belongs to version 4 of the framework; its params are used.")
			b.WriteString(params)
			continue
		case s.key == "stages", s.key == "state", s.key == "dashboard", s.key == "licenseKey":
			drop("warning", "Remove it, or package the service with version 4 yourself: `npx serverless package`.", "The key %s belongs to another version of the framework and is left out.", s.key)
			continue
		}
		b.WriteString(lines)
	}
	out := b.String()
	if hasKey := func(s section) bool { return s.key == "package" }; len(all) > 1 && len(a.leaveOut) > 0 && !slices.ContainsFunc(all, hasKey) {
		if !strings.HasSuffix(out, "\n") {
			out += "\n"
		}
		out += "package:\n  " + a.patternKey() + ":\n" + a.patterns("    ")
	}
	if strings.Contains(out, "${aws:accountId}") {
		out = strings.ReplaceAll(out, "${aws:accountId}", a.account)
		at := strings.Index(text, "${aws:accountId}")
		changes = append(changes, change{line: 1 + strings.Count(text[:max(at, 0)], "\n"), severity: "note",
			message: "${aws:accountId} is " + a.account + ": nobody is asked for it."})
	}
	if a.foreign {
		if !strings.HasSuffix(out, "\n") && out != "" {
			out += "\n"
		}
		out += "configValidationMode: warn\n"
	}
	return out, changes
}

func (a adaptation) patternKey() string {
	if a.old {
		return "exclude"
	}
	return "patterns"
}

// patterns are leaveOut as items of a list.
func (a adaptation) patterns(indent string) string {
	var b strings.Builder
	for _, p := range a.quoted() {
		b.WriteString(indent + "- " + p + "\n")
	}
	return b.String()
}

func (a adaptation) quoted() (out []string) {
	for _, p := range a.leaveOut {
		if !a.old {
			p = "!" + p
		}
		out = append(out, "'"+strings.ReplaceAll(p, "'", "''")+"'")
	}
	return out
}

// without adds leaveOut to the section package, at the end of its patterns, because
// the last that fits counts. What is written in a way that is not understood here
// stays as it is.
func (a adaptation) without(s section) string {
	text := strings.Join(s.lines, "")
	if s.value != "" || len(a.leaveOut) == 0 {
		return text
	}
	list, child := -1, -1 // line of the key, indent of all keys
	for i, line := range s.lines[1:] {
		bare := strings.TrimLeft(line, " ")
		if strings.TrimSpace(bare) == "" || bare[0] == '#' {
			continue
		}
		if indent := len(line) - len(bare); child < 0 || indent == child {
			child = indent
			if strings.HasPrefix(bare, a.patternKey()+":") {
				list = i + 1
			}
		}
	}
	if child <= 0 {
		return text
	}
	if list < 0 {
		indent := strings.Repeat(" ", child)
		return s.lines[0] + indent + a.patternKey() + ":\n" + a.patterns(indent+"  ") + strings.Join(s.lines[1:], "")
	}
	_, value, _ := strings.Cut(s.lines[list], ":")
	end := strings.LastIndexByte(value, ']')
	switch value = strings.TrimSpace(value); {
	case strings.HasPrefix(value, "[") && end > 0:
		line := s.lines[list]
		at := strings.LastIndexByte(line, ']')
		more := strings.Join(a.quoted(), ", ")
		if !strings.HasSuffix(strings.TrimSpace(line[:at]), "[") {
			more = ", " + more
		}
		s.lines[list] = line[:at] + more + line[at:]
	case value == "" || value[0] == '#':
		last, indent := list, strings.Repeat(" ", child+2)
		for i := list + 1; i < len(s.lines); i++ {
			bare := strings.TrimLeft(s.lines[i], " ")
			if strings.HasPrefix(bare, "- ") {
				last, indent = i, s.lines[i][:len(s.lines[i])-len(bare)]
			} else if strings.TrimSpace(bare) != "" && bare[0] != '#' && len(s.lines[i])-len(bare) <= child {
				break
			}
		}
		if !strings.HasSuffix(s.lines[last], "\n") {
			s.lines[last] += "\n"
		}
		s.lines[last] += a.patterns(indent)
	}
	return strings.Join(s.lines, "")
}

// plugins keeps those that can be loaded.
func (a adaptation) plugins(s section) (string, []change) {
	var dropped []change
	gone := func(name string, line int) bool {
		why := a.plugin(name)
		if why == "" {
			return false
		}
		severity, hint := "warning", "Install it (npm install) if the service needs it to run."
		if strings.HasPrefix(name, ".") {
			hint = ""
		}
		if offline(name) {
			severity, hint = "note", ""
		}
		dropped = append(dropped, change{line: line, severity: severity, message: fmt.Sprintf("Packaged without the plugin %s: %s.", quote(name), why), hint: hint})
		return true
	}
	if slices.ContainsFunc(s.lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "localPath:") }) {
		return strings.Join(s.lines, ""), nil // {localPath, modules}: looked for there
	}
	if s.value != "" { // plugins: [a, b]
		list, ok := strings.CutPrefix(s.value, "[")
		if !ok || !strings.HasSuffix(list, "]") {
			return strings.Join(s.lines, ""), nil
		}
		var kept []string
		for item := range strings.SplitSeq(strings.TrimSuffix(list, "]"), ",") {
			if name := scalar(item); name != "" && !gone(name, s.first+1) {
				kept = append(kept, strings.TrimSpace(item))
			}
		}
		if len(dropped) == 0 {
			return strings.Join(s.lines, ""), nil
		}
		return "plugins: [" + strings.Join(kept, ", ") + "]\n" + strings.Join(s.lines[1:], ""), dropped
	}
	var kept []string
	items := 0
	for i, line := range s.lines {
		if m := listItem.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil && i > 0 {
			if name := scalar(m[1]); name != "" && gone(name, s.first+1+i) {
				continue
			}
			items++
		}
		kept = append(kept, line)
	}
	if len(dropped) > 0 && items == 0 {
		return "", dropped
	}
	return strings.Join(kept, ""), dropped
}

// offline reports whether a plugin only runs a service locally, which is what
// Livegate does.
func offline(name string) bool {
	return strings.HasPrefix(name, "serverless-offline") || name == "serverless-dynamodb-local" || name == "serverless-dynamodb" || name == "serverless-localstack"
}

// stageParams turns version 4's stages.NAME.params into params.NAME.
func stageParams(s section) string {
	var b strings.Builder
	b.WriteString("params:\n")
	stage, params := -1, -1 // indents of the stage and of its params; -1 outside
	wrote := false
	for _, line := range s.lines[1:] {
		bare := strings.TrimRight(line, "\r\n \t")
		text := strings.TrimLeft(bare, " ")
		if text == "" || text[0] == '#' {
			continue
		}
		indent := len(bare) - len(text)
		switch {
		case stage < 0 || indent <= stage:
			stage, params = indent, -1
			b.WriteString("  " + text + "\n")
			wrote = true
		case params >= 0 && indent > params:
			b.WriteString("  " + bare[min(stage, len(bare)):] + "\n")
		default:
			params = -1
			if key, value, _ := strings.Cut(text, ":"); key == "params" && strings.TrimSpace(value) == "" {
				params = indent
			}
		}
	}
	if !wrote {
		return ""
	}
	return b.String()
}

func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
