package redact

import "strconv"

// Cards have 13 to 19 digits.
const (
	minCard = 13
	maxCard = 19
)

// cardAt is where a card number ends that begins with the first group; 0 if there is none. Its digits stand together or in
// groups of two and more with the same separator between all of them, the first of four. Digits after a decimal point are none.
func (f *finder) cardAt(groups []group) int {
	first := groups[0]
	if f.at(first.start-1) == '.' && f.is(first.start-2, isDigit) {
		return 0
	}
	for k := len(groups); k > 0; k-- {
		end := groups[k-1].end
		if n := count(groups[:k]); n < minCard || n > maxCard || !inFours(groups[:k]) || f.at(end) == '.' && f.is(end+1, isDigit) {
			continue
		}
		var buf [maxCard]byte
		if isCard(f.digits(buf[:0], groups[:k])) {
			return end
		}
	}
	return 0
}

// inFours reports whether digits are grouped as on a card.
func inFours(groups []group) bool {
	if len(groups) == 1 {
		return true
	}
	if groups[0].end-groups[0].start != 4 {
		return false
	}
	for _, g := range groups[1:] {
		if g.seps != 1 || g.sep != groups[1].sep || g.sep == '(' || g.sep == ')' || g.end-g.start < 2 {
			return false
		}
	}
	return true
}

// isCard reports whether digits are a card's: an issuer's range, and the check digit.
func isCard(digits []byte) bool {
	return len(digits) >= minCard && len(digits) <= maxCard && isIssuer(digits) && luhn(digits)
}

// issuers are the ranges of first four digits that card schemes use. The check digit alone would take one in ten of all ids and of
// all times in milliseconds or nanoseconds; those begin with 1, which no issuer does.
var issuers = [][2]int{
	{2200, 2204},                                           // Mir
	{2221, 2720},                                           // Mastercard
	{3000, 3059}, {3095, 3095}, {3600, 3699}, {3800, 3999}, // Diners Club
	{3400, 3499}, {3700, 3799}, // American Express
	{3528, 3589}, // JCB
	{4000, 4999}, // Visa
	{5000, 5999}, // Mastercard, Maestro, RuPay
	{6000, 6999}, // Discover, Maestro, UnionPay, RuPay
	{8100, 8299}, // UnionPay, RuPay
}

func isIssuer(digits []byte) bool {
	n, err := strconv.Atoi(string(digits[:4]))
	if err != nil {
		return false
	}
	for _, r := range issuers {
		if r[0] <= n && n <= r[1] {
			return true
		}
	}
	return false
}

// luhn checks the check digit.
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
