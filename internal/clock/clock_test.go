package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestScaledCompressesDurationsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		<-Scaled(3600).NewTimer(2 * time.Hour).C
		if got := time.Since(start); got != 2*time.Second {
			t.Fatalf("two hours took %v", got)
		}
		<-Clock{}.NewTimer(time.Minute).C
		if got := time.Since(start); got != 62*time.Second {
			t.Fatalf("zero clock scales: %v", got)
		}
		if !Scaled(10).Now().Equal(time.Now()) {
			t.Fatal("Now must be true time")
		}
	})
}

func TestRealNeverRoundsToNothing(t *testing.T) {
	if Scaled(1e18).Real(time.Second) != 1 || Scaled(0).Real(time.Second) != time.Second || Scaled(5).Real(0) != 0 {
		t.Fatal("rounding")
	}
}
