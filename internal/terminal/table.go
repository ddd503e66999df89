package terminal

import "strings"

// Table is rows under optional headings. Cells are plain text.
type Table struct {
	Head []string
	Rows [][]string
	// Paints colours columns by index; missing means Plain.
	Paints []Paint
	// Keep names columns that are never wrapped or cut, because people copy them:
	// URLs. They may make a line longer than the terminal.
	Keep   []int
	Indent int
}

const gap = 2

// Render draws the table within the look's width. When it does not fit, the widest
// columns give way first and their text wraps.
func (t Table) Render(l Look) string {
	n := len(t.Head)
	for _, r := range t.Rows {
		n = max(n, len(r))
	}
	if n == 0 {
		return ""
	}
	widths := t.widths(n, l)
	var b strings.Builder
	if len(t.Head) > 0 {
		t.row(&b, t.Head, widths, func(int) Paint { return Dim }, l)
	}
	for _, r := range t.Rows {
		t.row(&b, r, widths, func(i int) Paint {
			if i < len(t.Paints) {
				return t.Paints[i]
			}
			return Plain
		}, l)
	}
	return b.String()
}

func (t Table) widths(n int, l Look) []int {
	w := make([]int, n)
	measure := func(r []string) {
		for i, c := range r {
			for line := range strings.SplitSeq(l.plain(c), "\n") {
				w[i] = max(w[i], columns(line))
			}
		}
	}
	measure(t.Head)
	for _, r := range t.Rows {
		measure(r)
	}
	keep := make([]bool, n)
	for _, i := range t.Keep {
		if i < n {
			keep[i] = true
		}
	}
	// What can give way: each column down to least. When even that is not enough,
	// a kept URL is too long and the line breaks anyway: then nothing shrinks.
	const least = 8
	over, slack := t.Indent+sum(w)+gap*(n-1)-l.Width(), 0
	for i := range w {
		if !keep[i] {
			slack += max(0, w[i]-least)
		}
	}
	if len(t.Keep) > 0 && slack < over {
		return w
	}
	for ; over > 0; over-- {
		widest := -1
		for i := range w {
			if !keep[i] && w[i] > least && (widest < 0 || w[i] > w[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		w[widest]--
	}
	return w
}

func (t Table) row(b *strings.Builder, cells []string, widths []int, paint func(int) Paint, l Look) {
	wrapped := make([][]string, len(widths))
	height := 1
	for i := range widths {
		if i < len(cells) {
			text := l.plain(cells[i])
			if columns(text) <= widths[i] && !strings.Contains(text, "\n") {
				wrapped[i] = []string{text}
			} else {
				wrapped[i] = wrap(text, widths[i])
			}
		}
		height = max(height, len(wrapped[i]))
	}
	for y := range height {
		var line strings.Builder
		line.WriteString(strings.Repeat(" ", t.Indent))
		for i, w := range widths {
			cell := ""
			if y < len(wrapped[i]) {
				cell = wrapped[i][y]
			}
			pad := strings.Repeat(" ", max(0, w-columns(cell)))
			if i < len(widths)-1 {
				pad += strings.Repeat(" ", gap)
			}
			line.WriteString(l.Paint(paint(i), cell))
			line.WriteString(pad)
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// plain is Clean without colours and tabs: a cell's width must be known.
func (l Look) plain(s string) string {
	return strings.ReplaceAll(Look{}.Clean(s), "\t", " ")
}

func sum(list []int) int {
	n := 0
	for _, v := range list {
		n += v
	}
	return n
}
