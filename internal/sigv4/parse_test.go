package sigv4

import (
	"net/http"
	"testing"
	"time"
)

// BenchmarkParse is what every signed request costs before anything is verified.
func BenchmarkParse(b *testing.B) {
	h := http.Header{}
	h.Set("X-Amz-Date", "20261122T101010Z")
	h.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDBENCH/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(h, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzTime holds the reading of times by hand against package time.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"20261122T101010Z", "20260230T000000Z", "00000229T235959Z", "20261122T101060Z", "20240229T240000Z", "20231301T000000Z", "20230001T000000Z", "2023010 T000000Z", "+0230101T000000Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := time.Parse(timeFormat, s)
		if err != nil {
			want, err = http.ParseTime(s)
			want = want.UTC()
		}
		got, gotErr := parseTime(s)
		if (err == nil) != (gotErr == nil) || err == nil && !got.Equal(want) {
			t.Fatalf("%q: %v %v, want %v %v", s, got, gotErr, want, err)
		}
		day, err := time.Parse(dateFormat, s)
		if d, ok := parseDate(s); ok != (err == nil) || ok && !d.Equal(day) {
			t.Fatalf("%q: %v %v, want %v %v", s, d, ok, day, err)
		}
	})
}
