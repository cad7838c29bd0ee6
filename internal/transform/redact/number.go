package redact

// maxGroups is how many groups of digits a number is made of at most: "+33 6 12 34 56 78" has six, with an extension eight.
const maxGroups = 8

// group is a run of digits, and what separates it from the one before.
type group struct {
	start, end int
	sep        byte // ' ', '-', '.', '/' or ')', other blanks and dashes as ' ' and '-'; the last one, if there are two
	seps       int  // how many separators
}

// number finds a card or a phone number whose first digit is at i; it returns where it ends, 0 if there is none. Of both
// the longer one counts.
func (f *finder) number(i int, on set, name []byte) int {
	if !f.mayCount(i) {
		return 0
	}
	groups := f.collect(i)
	if len(groups) == 0 {
		return 0
	}
	cardEnd, phoneEnd := 0, 0
	if on.has(card) {
		cardEnd = f.cardAt(groups)
	}
	if on.has(phone) && cardEnd == 0 {
		phoneEnd = f.phoneAt(groups, name)
	}
	switch {
	case cardEnd > 0:
		f.add(i, cardEnd, card)
	case phoneEnd > 0:
		f.add(i, phoneEnd, phone)
	}
	return max(cardEnd, phoneEnd)
}

// mayCount reports whether the digits at i may begin a card or phone number, by how many they are. It is here for speed: the
// numbers that stand in texts are short.
func (f *finder) mayCount(i int) bool {
	j := i
	for f.is(j, isDigit) {
		j++
	}
	n := j - i
	return n == 3 || n == 4 || n >= 7 && n <= maxCard || f.text[i] == '0' || n == 1 && f.text[i] == '1'
}

// collect reads groups of digits from i on, with separators between them. A word with letters in it is no group.
func (f *finder) collect(i int) []group {
	groups := f.groups[:0]
	g := group{start: i}
	for len(groups) < maxGroups {
		j := g.start
		for f.is(j, isDigit) {
			j++
		}
		if j == g.start || f.is(j, isLetter) {
			break
		}
		g.end = j
		groups = append(groups, g)
		g = f.separators(j)
	}
	return groups
}

// separators reads up to three of them at i, and is the start of the group behind.
func (f *finder) separators(i int) group {
	g := group{start: i}
	for g.seps < 3 {
		sep, width := f.separator(g.start)
		if width == 0 {
			break
		}
		g.start += width
		g.sep = sep
		g.seps++
	}
	return g
}

func (f *finder) separator(i int) (sep byte, width int) {
	switch b := f.at(i); b {
	case ' ', '-', '.', '/', ')', '(':
		return b, 1
	case 0xC2: // no-break space
		if f.at(i+1) == 0xA0 {
			return ' ', 2
		}
	case 0xE2: // hyphens and dashes, narrow blanks
		switch last := f.at(i + 2); {
		case f.at(i+1) != 0x80:
		case last >= 0x90 && last <= 0x94:
			return '-', 3
		case last == 0xAF || last >= 0x80 && last <= 0x8A:
			return ' ', 3
		}
	}
	return 0, 0
}

// chained reports whether the digits from start to end are part of a longer chain, as of a version, an id or a time.
func (f *finder) chained(start, end int) bool {
	return f.is(start-2, isDigit) && isLink(f.at(start-1)) || f.is(end+1, isDigit) && isLink(f.at(end))
}

func isLink(b byte) bool { return b == '.' || b == ':' || b == '/' || b == '-' }

// digits appends the digits of groups to dst.
func (f *finder) digits(dst []byte, groups []group) []byte {
	for _, g := range groups {
		dst = append(dst, f.text[g.start:g.end]...)
	}
	return dst
}

func count(groups []group) (n int) {
	for _, g := range groups {
		n += g.end - g.start
	}
	return n
}
