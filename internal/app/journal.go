package app

import (
	"bytes"
	"context"

	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/storage"
)

// journal keeps, in storage, the connections whose $disconnect is still owed.
// Begin returns after the record is on disk, so a crash at any later moment
// leaves a record for the next start.
type journal struct{ db *storage.DB }

const journalSpace = "disconnects"

func (j journal) Begin(rec []byte, id string) error {
	return j.db.Update(context.Background(), func(tx *storage.Tx) error {
		return tx.Put(journalSpace, []byte(id), rec)
	})
}

func (j journal) End(id string) error {
	return j.db.Update(context.Background(), func(tx *storage.Tx) error {
		return tx.Delete(journalSpace, []byte(id))
	})
}

func (j journal) Pending() (recs [][]byte, err error) {
	err = j.db.View(func(tx *storage.Tx) error {
		tx.Ascend(journalSpace, nil, nil, func(_, v []byte) bool {
			recs = append(recs, bytes.Clone(v))
			return true
		})
		return nil
	})
	return recs, err
}

var _ gateway.Journal = journal{}
