package attr

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/fault"
)

func TestParseNumber(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "000": "0", "0.000": "0", "0e500": "0", "1": "1", "-1": "-1", "+7": "7",
		"1.0": "1", "01.50": "1.5", ".5": "0.5", "5.": "5", "100": "100", "1e2": "100", "1E+2": "100", "12e-1": "1.2",
		"0.001": "0.001", "1e-3": "0.001", "123456789012345678901234567890": "123456789012345678901234567890",
		"1e125":                                  "1" + strings.Repeat("0", 125),
		"1e-130":                                 "0." + strings.Repeat("0", 129) + "1",
		"12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
		"0.00000000000000000000000000000000000000000000123": "0.00000000000000000000000000000000000000000000123",
		"99999999999999999999999999999999999999e88":         strings.Repeat("9", 38) + strings.Repeat("0", 88),
	} {
		d, err := ParseNumber(in)
		if err != nil || d.String() != want {
			t.Errorf("ParseNumber(%q) = %s, %v; want %s", in, d, err, want)
		}
	}
	for in, want := range map[string]string{
		"":      "The parameter cannot be converted to a numeric value",
		"abc":   "The parameter cannot be converted to a numeric value: abc",
		"1e":    "The parameter cannot be converted to a numeric value: 1e",
		"1e1.5": "The parameter cannot be converted to a numeric value: 1e1.5",
		"1 ":    "The parameter cannot be converted to a numeric value: 1 ",
		"--1":   "The parameter cannot be converted to a numeric value: --1",
		"1.2.3": "The parameter cannot be converted to a numeric value: 1.2.3",
		"NaN":   "The parameter cannot be converted to a numeric value: NaN",
		"0x10":  "The parameter cannot be converted to a numeric value: 0x10",
		"123456789012345678901234567890123456789": "Attempting to store more than 38 significant digits in a Number",
		"1e126":                "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"-1e126":               "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"1e-131":               "Number underflow. Attempting to store a number with magnitude smaller than supported range",
		"1e999999999999999999": "The parameter cannot be converted to a numeric value: 1e999999999999999999",
	} {
		_, err := ParseNumber(in)
		if fault.Message(err) != want {
			t.Errorf("ParseNumber(%q): %v, want %s", in, err, want)
		}
	}
}

// numberText draws numbers of all sizes, with shapes a client may send.
func numberText(t *rapid.T, label string) string {
	digits := rapid.StringMatching(`[1-9][0-9]{0,18}`).Draw(t, label)
	exp := rapid.SampledFrom([]string{"", "", "e0", "e5", "e-5", "e40", "e-40", "e100", "e-120"}).Draw(t, label+" exponent")
	sign := rapid.SampledFrom([]string{"", "-"}).Draw(t, label+" sign")
	if rapid.IntRange(0, 20).Draw(t, label+" zero") == 0 {
		return "0"
	}
	if at := rapid.IntRange(0, len(digits)).Draw(t, label+" point"); at < len(digits) {
		digits = digits[:at] + "." + digits[at:]
	}
	return sign + digits + exp
}

func rat(s string) *big.Rat {
	r, _ := new(big.Rat).SetString(s)
	return r
}

// Canonical text, order and key order all agree with exact rationals.
func TestNumbersAgreeWithRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := numberText(t, "a"), numberText(t, "b")
		x, y := Number(a), Number(b)
		if rat(x.Str).Cmp(rat(a)) != 0 {
			t.Fatalf("%s became %s", a, x.Str)
		}
		want := rat(a).Cmp(rat(b))
		if got, _ := Compare(x, y); got != want {
			t.Fatalf("Compare(%s, %s) = %d", a, b, got)
		}
		kx, ky := AppendKey(nil, x), AppendKey(nil, y)
		if got := bytes.Compare(kx, ky); got != want {
			t.Fatalf("keys of %s and %s compare %d: %x %x", a, b, got, kx, ky)
		}
		if KeyLen(append(kx, ky...), N) != len(kx) {
			t.Fatalf("key of %s does not end itself: %x", a, kx)
		}
		if (x.Str == y.Str) != (want == 0) {
			t.Fatalf("%s and %s: canonical %s and %s", a, b, x.Str, y.Str)
		}
		minus := rapid.Bool().Draw(t, "minus")
		exact := new(big.Rat).Add(rat(a), rat(b))
		if minus {
			exact.Sub(rat(a), rat(b))
		}
		sum, err := Add(x, y, minus)
		if err == nil && rat(sum.Str).Cmp(exact) != 0 {
			t.Fatalf("%s ± %s = %s, want %s", a, b, sum.Str, exact)
		}
		if err != nil && !strings.Contains(err.Error(), "38 significant digits") && !strings.Contains(err.Error(), "flow") {
			t.Fatal(err)
		}
	})
}

func TestAddOverflows(t *testing.T) {
	nines := Number(strings.Repeat("9", 38) + "e88")
	if _, err := Add(nines, Number("1e88"), false); err == nil || !strings.Contains(err.Error(), "overflow") {
		t.Fatal(err)
	}
	if _, err := Add(Number("1e100"), Number("1"), false); err == nil || !strings.Contains(err.Error(), "38 significant") {
		t.Fatal(err)
	}
	if v, err := Add(Number("99999999999999999"), Number("99999999999999999"), false); err != nil || v.Str != "199999999999999998" {
		t.Fatal(v, err)
	}
	if v, err := Add(Number("0.1"), Number("0.2"), false); err != nil || v.Str != "0.3" {
		t.Fatal(v, err)
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"1", "-0.5e-10", "1e125", "0.0", ".", "e", "+", "1e+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseNumber(s)
		if err != nil {
			return
		}
		again, err := ParseNumber(d.String())
		if err != nil || again != d {
			t.Fatalf("%q → %q → %q, %v", s, d, again, err)
		}
		if r := rat(s); r != nil && r.Cmp(rat(d.String())) != 0 {
			t.Fatalf("%q became %s", s, d)
		}
	})
}
