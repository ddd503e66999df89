package storage

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/meter"
)

func TestStatsCountWhatIsOnDisk(t *testing.T) {
	reg := meter.New()
	db, err := Open(filepath.Join(t.TempDir(), "x.db"), Config{Sync: reg.Histogram("livegate_sync_seconds", "x", []float64{60})})
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	put(t, db, "b", "2", "c", "3")
	refused := errors.New("no")
	if err := db.Update(context.Background(), func(*Tx) error { return refused }); err != refused {
		t.Fatal(err)
	}
	s := db.Stats()
	if s.Commits != 2 || s.Updates != 2 || s.Failures != 0 || s.FileBytes <= 0 {
		t.Errorf("%+v", s)
	}
	rec := httptest.NewRecorder()
	reg.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(rec.Body.String(), "livegate_sync_seconds_bucket{le=\"60\"} 2\n") {
		t.Error("commits were not timed")
	}

	if err := db.bolt.Close(); err != nil { // the disk is gone
		t.Fatal(err)
	}
	if err := db.Update(context.Background(), func(tx *Tx) error { return tx.Put("s", []byte("d"), nil) }); err == nil {
		t.Error("written")
	}
	if s := db.Stats(); s.Commits != 2 || s.Failures != 1 {
		t.Errorf("after a failure: %+v", s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
