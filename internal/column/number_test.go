package column

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseInteger(t *testing.T) {
	for _, tc := range []struct {
		text string
		bits int
		want int64
		err  error
	}{
		{"0", 8, 0, nil}, {"-0", 8, 0, nil}, {"-0.0e5", 8, 0, nil},
		{"127", 8, 127, nil}, {"128", 8, 0, ErrRange}, {"-128", 8, -128, nil}, {"-129", 8, 0, ErrRange},
		{"9223372036854775807", 64, 1<<63 - 1, nil}, {"9223372036854775808", 64, 0, ErrRange},
		{"-9223372036854775808", 64, -1 << 63, nil}, {"-9223372036854775809", 64, 0, ErrRange},
		{"1.0", 32, 1, nil}, {"1e3", 32, 1000, nil}, {"1.5e1", 32, 15, nil}, {"1200e-2", 32, 12, nil},
		{"1.5", 32, 0, ErrFraction}, {"1e-1", 32, 0, ErrFraction}, {"12e-2", 32, 0, ErrFraction},
		{"1e30", 64, 0, ErrRange}, {"1e999999999999999999999", 64, 0, ErrRange}, {"0e999999999999999999999", 64, 0, nil},
		{"1e-999999999999999999999", 64, 0, ErrFraction},
		{"9007199254740993", 64, 9007199254740993, nil}, // a float64 cannot hold it
		{"01", 64, 0, ErrFormat}, {"1.", 64, 0, ErrFormat}, {"", 64, 0, ErrFormat}, {"-", 64, 0, ErrFormat},
		{"+1", 64, 0, ErrFormat}, {"1e", 64, 0, ErrFormat}, {"0x1", 64, 0, ErrFormat}, {" 1", 64, 0, ErrFormat},
	} {
		got, err := ParseInt([]byte(tc.text), tc.bits)
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("ParseInt(%s, %d) = %d, %v; want %d, %v", tc.text, tc.bits, got, err, tc.want, tc.err)
		}
	}
	for _, tc := range []struct {
		text string
		bits int
		want uint64
		err  error
	}{
		{"18446744073709551615", 64, 1<<64 - 1, nil}, {"18446744073709551616", 64, 0, ErrRange},
		{"1844674407370955161.5e1", 64, 1<<64 - 1, nil}, {"99999999999999999999", 64, 0, ErrRange},
		{"-0", 8, 0, nil}, {"-1", 8, 0, ErrRange}, {"256", 8, 0, ErrRange}, {"2.55e2", 8, 255, nil},
		{"-0.5", 8, 0, ErrFraction},
	} {
		got, err := ParseUint([]byte(tc.text), tc.bits)
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("ParseUint(%s, %d) = %d, %v; want %d, %v", tc.text, tc.bits, got, err, tc.want, tc.err)
		}
	}
}

// Integers agree with exact arithmetic on any number that JSON can write.
func TestParseInteger_IsExact(t *testing.T) {
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(rt *rapid.T) {
		text := number.Draw(rt, "number")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			rt.Fatal(text)
		}
		i, err := ParseInt([]byte(text), 64)
		checkExact(rt, text, exact, strconv.FormatInt(i, 10), exact.IsInt() && exact.Num().IsInt64(), err)
		u, err := ParseUint([]byte(text), 64)
		checkExact(rt, text, exact, strconv.FormatUint(u, 10), exact.IsInt() && exact.Num().IsUint64(), err)
	})
}

func checkExact(rt *rapid.T, text string, exact *big.Rat, got string, fits bool, err error) {
	switch {
	case fits && (err != nil || got != exact.Num().String()):
		rt.Fatalf("%s: got %s, %v", text, got, err)
	case !fits && err == nil:
		rt.Fatalf("%s: got %s, want an error", text, got)
	case !exact.IsInt() && !errors.Is(err, ErrFraction):
		rt.Fatalf("%s: got %v, want ErrFraction", text, err)
	}
}

func TestFloor_IsExact(t *testing.T) {
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,12})?([eE][+-]?[0-9])?`)
	rapid.Check(t, func(rt *rapid.T) {
		text, shift := number.Draw(rt, "number"), rapid.IntRange(-9, 9).Draw(rt, "shift")
		d, err := ParseDecimal([]byte(text), nil)
		if err != nil {
			rt.Fatal(err)
		}
		want, _ := new(big.Rat).SetString(text + "e" + strconv.Itoa(shift))
		if want == nil { // the text has an exponent of its own
			base, _ := new(big.Rat).SetString(text)
			scale, _ := new(big.Rat).SetString("1e" + strconv.Itoa(shift))
			want = base.Mul(base, scale)
		}
		// Go's big division rounds towards negative infinity for a positive divisor.
		floor := new(big.Int).Div(want.Num(), want.Denom())
		got, exact, err := d.Floor(shift)
		if err != nil {
			if floor.IsInt64() {
				rt.Fatalf("%se%d: %v", text, shift, err)
			}
			return
		}
		if floor.String() != strconv.FormatInt(got, 10) || exact != want.IsInt() {
			rt.Fatalf("%se%d: got %d, %v, want %s, %v", text, shift, got, exact, floor, want.IsInt())
		}
	})
}

func TestParseFloat(t *testing.T) {
	for _, tc := range []struct {
		text string
		bits int
		want float64
		err  error
	}{
		{"1e22", 64, 1e22, nil}, {"1e23", 64, 1e23, nil}, {"1e-22", 64, 1e-22, nil}, {"1e-23", 64, 1e-23, nil},
		{"9007199254740991e22", 64, 9007199254740991e22, nil}, {"9007199254740993e-22", 64, 9007199254740993e-22, nil},
		{"0.1", 64, 0.1, nil}, {"1e400", 64, 0, ErrRange}, {"-1e400", 64, 0, ErrRange}, {"1e-400", 64, 0, nil},
		{"1e39", 32, 0, ErrRange}, {"0.1", 32, float64(float32(0.1)), nil},
		{"inf", 64, 0, ErrFormat}, {"nan", 64, 0, ErrFormat}, {"0x1p3", 64, 0, ErrFormat}, {"1_0", 64, 0, ErrFormat},
	} {
		got, _, err := ParseFloat([]byte(tc.text), tc.bits)
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("ParseFloat(%s, %d) = %v, %v; want %v, %v", tc.text, tc.bits, got, err, tc.want, tc.err)
		}
	}
}

// jsonNumber draws numbers as JSON writes them, short ones more often.
var jsonNumber = rapid.OneOf(
	rapid.StringMatching(`-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?`),
	rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?`),
	rapid.StringMatching(`-?[1-9][0-9]{14,21}([eE][+-]?[0-9]{1,3})?`),
)

// The fast paths agree with strconv, to the bit, and exact says whether an integer survived.
func TestParseFloat_AgreesWithStrconv(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := jsonNumber.Draw(rt, "number")
		for _, bits := range []int{32, 64} {
			want, wantErr := strconv.ParseFloat(text, bits)
			got, exact, err := ParseFloat([]byte(text), bits)
			if (err != nil) != (wantErr != nil) {
				rt.Fatalf("%s in %d bits: %v, strconv says %v", text, bits, err, wantErr)
			}
			if err != nil {
				continue
			}
			if math.Float64bits(got) != math.Float64bits(want) {
				rt.Fatalf("%s in %d bits: %v, strconv says %v", text, bits, got, want)
			}
			written, isInt := new(big.Int).SetString(text, 10)
			lost := isInt && new(big.Rat).SetInt(written).Cmp(new(big.Rat).SetFloat64(got)) != 0
			if exact == lost {
				rt.Fatalf("%s in %d bits is %v: exact %v", text, bits, got, exact)
			}
		}
	})
}

// big.Float, rounding once to 8 bits of mantissa, is the second opinion (subnormals apart: it has none).
func TestBFloat16_IsNearest(t *testing.T) {
	nearTie := rapid.Custom(func(rt *rapid.T) string {
		odd := 2*rapid.Int64Range(128, 255).Draw(rt, "mantissa") + 1 // a tie at 9 bits
		exact := new(big.Rat).SetFrac64(odd, 512)
		return exact.FloatString(12) + rapid.StringMatching(`[09]{0,20}[0-9]?`).Draw(rt, "tail")
	})
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(nearTie, jsonNumber).Draw(rt, "number")
		c := mustNew(t, "BFloat16").(*BFloat16)
		_, err := AppendNumber(c, []byte(text))
		want, _, parseErr := big.ParseFloat(text, 10, 8, big.ToNearestEven)
		if parseErr != nil {
			rt.Fatal(parseErr)
		}
		f, _ := want.Float64()
		switch {
		case math.Abs(f) > maxBFloat16:
			if !errors.Is(err, ErrRange) {
				rt.Fatalf("%s: %v, want ErrRange", text, err)
			}
		case err != nil:
			rt.Fatalf("%s: %v", text, err)
		case math.Abs(f) >= 0x1p-126 && float64(c.Row(0)) != f:
			rt.Fatalf("%s: %v, want %v", text, c.Row(0), f)
		}
	})
}

// Integers and Decimals of every width agree with exact arithmetic.
func TestWide_IsExact(t *testing.T) {
	for _, typ := range []string{"Int128", "Int256", "UInt128", "UInt256", "Decimal(9, 2)", "Decimal(18, 0)", "Decimal(38, 37)", "Decimal(76, 20)"} {
		parsed, err := ParseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(typ, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				text := rapid.OneOf(jsonNumber, rapid.StringMatching(`-?[1-9][0-9]{30,80}(\.[0-9]{1,3})?`)).Draw(rt, "number")
				c := parsed.New()
				exact, err := AppendNumber(c, []byte(text))
				checkWide(rt, parsed, c, text, exact, err)
			})
		})
	}
}

func checkWide(rt *rapid.T, typ Type, c Column, text string, exact bool, err error) {
	written, _ := new(big.Rat).SetString(text)
	scaled := new(big.Rat).Mul(written, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.Scale)), nil)))
	want, whole := halfEven(scaled), scaled.IsInt()
	least, most := bounds(typ)
	switch {
	case typ.Name != "Decimal" && !whole:
		if !errors.Is(err, ErrFraction) {
			rt.Fatalf("%s: %v, want ErrFraction", text, err)
		}
	case want.Cmp(least) < 0 || want.Cmp(most) > 0:
		if !errors.Is(err, ErrRange) || c.Rows() != 0 {
			rt.Fatalf("%s: %v, want ErrRange", text, err)
		}
	case err != nil || exact != whole:
		rt.Fatalf("%s: exact %v, %v", text, exact, err)
	default:
		if got := wideValue(c); got.Cmp(want) != 0 {
			rt.Fatalf("%s: %s, want %s", text, got, want)
		}
	}
}

// halfEven rounds by comparing twice the remainder with the divisor.
func halfEven(r *big.Rat) *big.Int {
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	twice := m.Lsh(m, 1).Cmp(r.Denom())
	if twice > 0 || twice == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func bounds(typ Type) (least, most *big.Int) {
	one := big.NewInt(1)
	if typ.Name == "Decimal" {
		most = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.Precision)), nil)
		return new(big.Int).Sub(one, most), most.Sub(most, one)
	}
	bits, err := strconv.Atoi(typ.Name[len(typ.Name)-3:])
	if err != nil {
		panic(err)
	}
	if typ.Name[0] == 'U' {
		return new(big.Int), new(big.Int).Sub(new(big.Int).Lsh(one, uint(bits)), one)
	}
	half := new(big.Int).Lsh(one, uint(bits-1))
	return new(big.Int).Neg(half), new(big.Int).Sub(half, one)
}

// wideValue is the first row, read byte by byte.
func wideValue(c Column) *big.Int {
	f := c.(interface{ base() *fixed }).base()
	v := new(big.Int)
	wire := f.wire(0)
	for i := len(wire) - 1; i >= 0; i-- {
		v.Lsh(v, 8).Or(v, big.NewInt(int64(wire[i])))
	}
	if w, isInt := c.(*WideInt); wire[len(wire)-1]&0x80 != 0 && (!isInt || w.signed) {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(wire))))
	}
	return v
}

// What is too long for any type is refused, or rounded, at once.
func TestNumbers_Hostile(t *testing.T) {
	long := strings.Repeat("9", 1_000_000)
	for _, tc := range []struct {
		typ, text string
		exact     bool
		err       error
	}{
		{"Float64", "0." + strings.Repeat("0", 2_000_000) + "1e2000001", true, nil}, // 1
		{"Int64", "0." + strings.Repeat("0", 2_000_000) + "1e2000001", true, nil},
		{"Decimal(9, 2)", "0." + strings.Repeat("0", 2_000_000) + "1e2000001", true, nil},
		{"BFloat16", "1.01171875" + long, true, nil},
		{"Decimal(76, 2)", "1." + long, false, nil},
		{"Int256", long, true, ErrRange}, {"Float64", long, true, ErrRange}, {"BFloat16", long, true, ErrRange},
		{"UInt256", "1e1000000000", true, ErrRange}, {"Decimal(76, 76)", "1e-1000000000", false, nil},
		{"JSON", `{"a":` + long + `}`, true, ErrRange},
	} {
		c := mustNew(t, tc.typ)
		exact, err := AppendText(c, []byte(tc.text), RFC3339)
		if !errors.Is(err, tc.err) || err == nil && exact != tc.exact {
			t.Errorf("%s %.20s...: exact %v, %v; want %v, %v", tc.typ, tc.text, exact, err, tc.exact, tc.err)
		}
	}
}

// Half goes to even, anything more than half up, by the short way and by the long one.
func TestDecimal_Rounds(t *testing.T) {
	zeros := strings.Repeat("0", 30)
	for text, want := range map[string]int64{
		"0.25": 2, "0.35": 4, "-0.25": -2, "-0.35": -4, "0.251": 3, "0.249": 2, "0.05": 0, "0.15": 2, "0.051": 1, "0.9501": 10,
		"0.25" + zeros: 2, "0.35" + zeros: 4, "0.25" + zeros + "1": 3, "-0.25" + zeros + "1": -3, "0.24" + zeros + "9": 2, "0.26" + zeros + "1": 3,
		"0.05" + zeros + "1": 1, "0.04" + zeros + "1": 0, "0." + zeros + "9": 0, "0.95" + zeros + "1": 10, "5e-31": 0,
	} {
		c := mustNew(t, "Decimal(9, 1)").(*Decimals)
		exact, err := AppendNumber(c, []byte(text))
		if err != nil || c.Rows() != 1 || int64(c.Row(0)[0]) != want {
			t.Errorf("%s: %v, want %d", text, err, want)
		}
		if err == nil && exact {
			if short := strings.TrimRight(text, "0"); len(short) > len("-0.1") {
				t.Errorf("%s: rounded, and not reported", text)
			}
		}
	}
}
