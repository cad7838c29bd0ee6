package top

import (
	"strings"

	"github.com/waybill-data/waybill/internal/status"
)

// paint is how a terminal is told to show something: the numbers of an SGR sequence.
type paint string

const (
	plain   paint = ""
	bold    paint = "1"
	reverse paint = "7"
	red     paint = "31"
	green   paint = "32"
	yellow  paint = "33"
)

// canvas is lines of text, none of which takes more columns than there are.
type canvas struct {
	width  int
	colour bool
	lines  []string
}

func (c *canvas) blank() { c.lines = append(c.lines, "") }

// text writes one line, cut where it is too long.
func (c *canvas) text(p paint, s string) { c.put(p, begun(clean(s), c.width)) }

// ends writes a line with something at its right end, if there is room for that.
func (c *canvas) ends(p paint, left, right string) {
	left, right = clean(left), clean(right)
	if room := c.width - cells(left) - cells(right); room > 0 {
		left += strings.Repeat(" ", room) + right
	}
	c.text(p, left)
}

// wrapped writes a text in at most so many lines; 0: as many as it takes.
func (c *canvas) wrapped(p paint, indent, s string, most int) {
	lines := wrap(s, c.width-len(indent))
	if most > 0 && len(lines) > most {
		lines = lines[:most]
		lines[most-1] = begun(lines[most-1]+" …", c.width-len(indent))
		if !strings.HasSuffix(lines[most-1], "…") {
			lines[most-1] = begun(lines[most-1], c.width-len(indent)-1) + "…"
		}
	}
	for _, l := range lines {
		c.put(p, begun(indent+l, c.width))
	}
}

// put writes a line that is clean and fits.
func (c *canvas) put(p paint, line string) {
	c.lines = append(c.lines, c.painted(p, strings.TrimRight(line, " ")))
}

func (c *canvas) painted(p paint, s string) string {
	if p == plain || !c.colour || s == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

// column of a table. The first one gives way where there is no room for all; where that is not enough, those go that are the least to be kept.
type column struct {
	title string
	right bool
	min   int
	keep  int
}

// cell is a text in a table.
type cell struct {
	text  string
	paint paint
}

// row of a table.
type row struct {
	cells  []cell
	chosen bool
}

// table writes rows below their titles.
func (c *canvas) table(columns []column, rows []row) {
	const mark, least = 2, 10
	widths, total := make([]int, len(columns)), mark-1
	for i, col := range columns {
		widths[i] = max(col.min, len(col.title))
		for _, r := range rows {
			widths[i] = max(widths[i], cells(clean(r.cells[i].text)))
		}
		if i > 0 {
			total += widths[i] + 1
		}
	}
	for total+1+min(least, widths[0]) > c.width {
		drop := 0
		for i, col := range columns {
			if i > 0 && widths[i] > 0 && (drop == 0 || col.keep < columns[drop].keep) {
				drop = i
			}
		}
		if drop == 0 {
			break
		}
		total -= widths[drop] + 1
		widths[drop] = 0
	}
	widths[0] = max(0, min(widths[0], c.width-total-1))
	titles := row{}
	for _, col := range columns {
		titles.cells = append(titles.cells, cell{col.title, bold})
	}
	for _, r := range append([]row{titles}, rows...) {
		c.row(columns, widths, r)
	}
}

func (c *canvas) row(columns []column, widths []int, r row) {
	line, used := " ", 1
	if r.chosen {
		line = ">"
	}
	for i, col := range columns {
		if widths[i] == 0 {
			continue
		}
		text := short(clean(r.cells[i].text), widths[i])
		space := strings.Repeat(" ", widths[i]-cells(text))
		p := r.cells[i].paint
		if r.chosen {
			p = plain // the whole line is reversed
		}
		if col.right {
			line += " " + space + c.painted(p, text)
		} else {
			line += " " + c.painted(p, text) + space
		}
		used += 1 + widths[i]
	}
	if r.chosen && c.colour {
		line += strings.Repeat(" ", max(0, c.width-used))
		c.lines = append(c.lines, c.painted(reverse, line))
		return
	}
	if used > c.width { // nothing is left to drop
		line = begun(line, c.width)
	}
	c.lines = append(c.lines, strings.TrimRight(line, " "))
}

// stateOf is a state in its colour.
func stateOf[S ~string](s S) cell {
	switch string(s) {
	case string(status.Running):
		return cell{string(s), green}
	case string(status.Stalled), string(status.Stopped), Unknown:
		return cell{string(s), red}
	}
	return cell{string(s), yellow}
}
