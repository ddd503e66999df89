package terminal

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is something to tell a person: what is wrong, where, what to do.
type Problem struct {
	Severity string // "error", "warning", "note"
	Message  string
	File     string // "" when it has no place
	Line     int    // 1-based; 0 unknown
	Col      int    // 1-based; 0 unknown
	Source   string // the text of that line; "" when it could not be read
	Hint     string
	Code     string // stable id, shown last
	Resource string // logical id; shown unless the message names it
}

// Render draws the problem so that it fits on a screen:
//
//	error: CodeUri "src" does not exist
//	  template.yaml:12:16
//	   12 |       CodeUri: src
//	      |                ^
//	  hint: create the directory, or correct CodeUri
func (p Problem) Render(l Look) string {
	var b strings.Builder
	paint := SeverityPaint(p.Severity)
	indent := func(prefix string, style Paint, text string) {
		for i, line := range wrap(text, max(20, l.Width()-2-len(prefix))) {
			lead := strings.Repeat(" ", len(prefix))
			if i == 0 {
				lead = l.Paint(style, prefix)
			}
			b.WriteString("  " + lead + line + "\n")
		}
	}
	lead := p.Severity + ": "
	msg := Look{}.Clean(p.Message)
	msg = About(p.Resource, msg)
	for i, line := range wrap(msg, max(20, l.Width()-len(lead))) {
		if i == 0 {
			b.WriteString(l.Paint(paint+Bold, lead) + l.Paint(Bold, line) + "\n")
			continue
		}
		b.WriteString(strings.Repeat(" ", len(lead)) + l.Paint(Bold, line) + "\n")
	}
	if at := p.place(); at != "" {
		b.WriteString("  " + l.Paint(Cyan, at) + "\n")
		b.WriteString(p.excerpt(l, paint))
	}
	if p.Hint != "" {
		indent("hint: ", Green, Look{}.Clean(p.Hint))
	}
	return b.String()
}

// About puts a name in front of a message that does not hold it as a word already.
func About(name, msg string) string {
	letter := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	if name == "" || slices.Contains(strings.FieldsFunc(msg, func(r rune) bool { return !letter(r) }), name) {
		return msg
	}
	return name + ": " + msg
}

// SeverityPaint is the colour of a severity.
func SeverityPaint(severity string) Paint {
	switch severity {
	case "error":
		return Red
	case "warning":
		return Yellow
	}
	return Blue
}

func (p Problem) place() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// excerpt shows the source line with a mark under the column. A line longer than
// the terminal is cut around the mark.
func (p Problem) excerpt(l Look, paint Paint) string {
	src := strings.TrimRight(Look{}.Clean(p.Source), " \n")
	if src == "" || p.Line == 0 || strings.Contains(src, "\n") {
		return ""
	}
	num := fmt.Sprint(p.Line)
	col := p.Col - 1 // in characters
	runes := []rune(src)
	room := max(20, l.Width()-len(num)-8)
	if len(runes) > room {
		from := max(0, min(col-room/2, len(runes)-room))
		runes, col = runes[from:min(len(runes), from+room)], col-from
		src = string(runes)
	}
	bar := l.Paint(Dim, " | ")
	out := "   " + l.Paint(Dim, num) + bar + strings.ReplaceAll(src, "\t", " ") + "\n"
	if col >= 0 && col <= len(runes) && p.Col > 0 {
		out += "   " + strings.Repeat(" ", len(num)) + bar + strings.Repeat(" ", columns(string(runes[:col]))) + l.Paint(paint, "^") + "\n"
	}
	return out
}
