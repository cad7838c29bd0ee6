package redact

import (
	"bytes"
	"slices"
)

// signed finds a phone number that begins with + or a bracket at i; it returns where it ends, 0 if there is none.
func (f *finder) signed(i int) int {
	if f.is(i-1, isWord) {
		return 0
	}
	groups := f.collect(i + 1)
	end := 0
	switch {
	case len(groups) == 0:
	case f.text[i] == '+':
		end = f.international(groups)
	case f.at(groups[0].end) == ')':
		end = f.national(groups)
	}
	if end > 0 {
		f.add(i, end, phone)
	}
	return end
}

// international takes what follows a +: country code and number, 8 to 15 digits. Numbers of North America have 11; of others
// no more than 13 if they are in groups, so that what stands beside them is not taken along.
func (f *finder) international(groups []group) int {
	if f.text[groups[0].start] == '0' {
		return 0
	}
	america := f.text[groups[0].start] == '1'
	for k := len(groups); k > 0; k-- {
		n := count(groups[:k])
		switch {
		case america && n == 11, !america && n >= 8 && n <= 13, k == 1 && n >= 8 && n <= 15:
			return groups[k-1].end
		}
	}
	return 0
}

// phoneAt is where a phone number ends that begins with the first group, without a sign before it; 0 if there is none.
func (f *finder) phoneAt(groups []group, name []byte) int {
	if end := f.national(groups); end > 0 {
		return end
	}
	g := groups[0]
	if isBare(f.text[g.start:g.end]) && !f.chained(g.start, g.end) && (isPhoneName(name) || f.aboutPhones(g.start)) {
		return g.end
	}
	return 0
}

// national takes numbers in the common forms of countries. There are separators in all of them: digits that stand
// together are ids, counts and times far more often.
func (f *finder) national(groups []group) int {
	for k := len(groups); k > 1; k-- {
		gs := groups[:k]
		if (f.american(gs) || f.chinese(gs) || f.trunk(gs)) && !f.chained(gs[0].start, gs[k-1].end) {
			return gs[k-1].end
		}
	}
	return 0
}

// sizes reports whether groups are of these numbers of digits.
func sizes(groups []group, want ...int) bool {
	return slices.EqualFunc(groups, want, func(g group, n int) bool { return g.end-g.start == n })
}

// american: 415-555-0123, (415) 555-0123, 1.415.555.0123. Area and exchange begin with 2 to 9.
func (f *finder) american(gs []group) bool {
	if sizes(gs[:1], 1) && f.text[gs[0].start] == '1' {
		gs = gs[1:]
	}
	return sizes(gs, 3, 3, 4) && f.text[gs[0].start] >= '2' && f.text[gs[1].start] >= '2' && !slash(gs[1:])
}

// chinese: 138 1234 5678.
func (f *finder) chinese(gs []group) bool {
	return sizes(gs, 3, 4, 4) && f.text[gs[0].start] == '1' && f.text[gs[0].start+1] >= '3' && gs[1].sep == gs[2].sep && gs[1].seps == 1
}

// trunk: a 0 before area or network, or 00 before the country: 020 7946 0958, 0170/1234567, 06 12 34 56 78,
// 0049 170 1234567. After the first separator all are the same. Dates have fewer digits or are in groups of 2, 2 and 4.
func (f *finder) trunk(gs []group) bool {
	first := f.text[gs[0].start:gs[0].end]
	zeros := 1
	if bytes.HasPrefix(first, []byte("00")) {
		zeros = 2
	}
	if n := count(gs); first[0] != '0' || n < 9 || n > 11+2*zeros || len(first) <= zeros || first[zeros] == '0' || isDate(gs) {
		return false
	}
	for i, g := range gs[1:] {
		if g.end-g.start < 2 || i > 0 && (g.sep != gs[2].sep || g.seps != 1 || g.sep == '/') {
			return false
		}
	}
	return true
}

func isDate(gs []group) bool { return len(gs) > 2 && sizes(gs[:3], 2, 2, 4) }

func slash(gs []group) bool {
	return slices.ContainsFunc(gs, func(g group) bool { return g.sep == '/' })
}

// isBare reports whether digits that stand together may be a phone number, if the context says that they are one. Ten
// or thirteen that begin with 1 are a time in seconds or milliseconds.
func isBare(digits []byte) bool {
	n := len(digits)
	return n >= 7 && n <= 15 && (digits[0] != '1' || n != 10 && n != 13)
}

// phoneParts are what names of members that hold phone numbers have in them; phoneWords are words that stand before such numbers.
var (
	phoneParts = []string{"phone", "mobile", "msisdn", "telefon", "whatsapp", "fax_", "tel_", "_tel"}
	phoneWords = []string{"phone", "telephone", "telefon", "tel", "mobile", "mobil", "cell", "cellphone", "fax", "whatsapp", "sms", "msisdn", "handy"}
)

func isPhoneName(name []byte) bool {
	var buf [maxName]byte
	lower := fold(buf[:0], name, "")
	return slices.ContainsFunc(phoneWords, func(w string) bool { return string(lower) == w }) ||
		slices.ContainsFunc(phoneParts, func(p string) bool { return bytes.Contains(lower, []byte(p)) })
}

// wordsBefore is how far back from a number words are looked for.
const wordsBefore = 32

// aboutPhones reports whether one of the words before i says that a phone number follows.
func (f *finder) aboutPhones(i int) bool {
	before := f.text[max(0, i-wordsBefore):i]
	notLetter := func(r rune) bool { return r >= 0x80 || class[byte(r)]&isLetter == 0 }
	for word := range bytes.FieldsFuncSeq(before, notLetter) {
		if slices.ContainsFunc(phoneWords, func(w string) bool { return bytes.EqualFold(word, []byte(w)) }) {
			return true
		}
	}
	return false
}
