package column

import (
	"errors"
	"math/big"
	"strconv"
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
