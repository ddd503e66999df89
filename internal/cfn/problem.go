package cfn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a Problem means for the template.
type Severity uint8

const (
	Error   Severity = iota // CloudFormation would refuse it, or what runs needs it
	Warning                 // accepted, and something will not work as written
	Note                    // worth knowing
)

func (s Severity) String() string { return [...]string{"error", "warning", "note"}[s] }

// Problem is one finding about a template.
type Problem struct {
	Severity Severity
	Code     string // stable, kebab-case
	Message  string // what is wrong
	Hint     string // what to do; "" when the message says it
	Resource string // logical id, "" outside resources
	Pos      Pos
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s: %s [%s]", p.Pos, p.Severity, p.Message, p.Code)
	if p.Hint != "" {
		s += "\n    " + p.Hint
	}
	return s
}

// report collects problems, each once.
type report struct {
	list     []Problem
	seen     map[Problem]bool
	resource string // logical id being looked at
}

func (r *report) add(p Problem) {
	if p.Resource == "" {
		p.Resource = r.resource
	}
	p.Message = clip(p.Message)
	key := p
	key.Resource = ""
	if r.seen[key] {
		return
	}
	if r.seen == nil {
		r.seen = map[Problem]bool{}
	}
	r.seen[key] = true
	r.list = append(r.list, p)
}

func (r *report) errorf(at Pos, code, hint, format string, args ...any) {
	r.add(Problem{Severity: Error, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...), Pos: at})
}

func (r *report) warnf(at Pos, code, hint, format string, args ...any) {
	r.add(Problem{Severity: Warning, Code: code, Hint: hint, Message: fmt.Sprintf(format, args...), Pos: at})
}

// clip keeps a message on one screen whatever the template put into it.
func clip(s string) string {
	const most = 800
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}

// quote shows a value from the template, shortened.
func quote(s string) string {
	r := []rune(s)
	if len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// DidYouMean is a hint that names the closest of the known words to a word that
// was not found, or lists what there is when nothing is close.
func DidYouMean(word string, known []string) string {
	if best := Closest(word, known); best != "" {
		return fmt.Sprintf("Did you mean %q?", best)
	}
	return oneOf(known)
}

// oneOf lists up to a dozen words.
func oneOf(known []string) string {
	if len(known) == 0 {
		return ""
	}
	known = slices.Sorted(slices.Values(known))
	more := ""
	if len(known) > 12 {
		more = fmt.Sprintf(" and %d more", len(known)-12)
		known = known[:12]
	}
	return "There is: " + strings.Join(known, ", ") + more + "."
}

// Closest is the known word nearest to a misspelt one; "" when none is near.
func Closest(word string, known []string) string {
	type near struct {
		word string
		d    int
	}
	limit := max(1, min(len(word)/3, 6))
	var found []near
	for _, k := range known {
		d := Distance(strings.ToLower(word), strings.ToLower(k), limit)
		if d <= limit {
			found = append(found, near{k, d})
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Or(cmp.Compare(a.d, b.d), cmp.Compare(a.word, b.word)) })
	return found[0].word
}

// Distance is the number of letters to change, add, remove or swap with their
// neighbour between two words; limit+1 when it is larger than limit.
func Distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) > limit || len(a) > 200 {
		return limit + 1
	}
	var before, prev []int // the rows above cur
	cur := make([]int, len(b)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := range len(a) {
		before, prev, cur = prev, cur, make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range len(b) {
			sub := prev[j]
			if a[i] != b[j] {
				sub++
			}
			cur[j+1] = min(sub, prev[j+1]+1, cur[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
	}
	return min(cur[len(b)], limit+1)
}

func abs(n int) int { return max(n, -n) }
