package durability

import (
	"context"
	"fmt"
	"maps"
)

// follower replays a table's stream: what it makes must be the table.
type follower struct {
	table  string
	read   map[string]string // last sequence number by shard
	images map[string]item   // by id
	count  int               // records
}

func follow(table string) *follower {
	return &follower{table: table, read: map[string]string{}, images: map[string]item{}}
}

// record is a part of what GetRecords answers.
type record struct {
	EventName string `json:"eventName"`
	Dynamodb  struct {
		Keys, NewImage, OldImage item
		SequenceNumber           string
	} `json:"dynamodb"`
}

// catchUp reads what came since the last time, from the beginning at first.
func (f *follower) catchUp(ctx context.Context, a *api) error {
	var about struct {
		Table struct{ LatestStreamArn string }
	}
	if err := a.call(ctx, "DescribeTable", object{"TableName": f.table}, &about); err != nil {
		return err
	}
	var stream struct {
		StreamDescription struct{ Shards []struct{ ShardID string } }
	}
	if err := a.stream(ctx, "DescribeStream", object{"StreamArn": about.Table.LatestStreamArn}, &stream); err != nil {
		return err
	}
	for _, shard := range stream.StreamDescription.Shards { // parents come first
		in := object{"StreamArn": about.Table.LatestStreamArn, "ShardId": shard.ShardID, "ShardIteratorType": "TRIM_HORIZON"}
		if last := f.read[shard.ShardID]; last != "" {
			in["ShardIteratorType"], in["SequenceNumber"] = "AFTER_SEQUENCE_NUMBER", last
		}
		var at struct{ ShardIterator string }
		if err := a.stream(ctx, "GetShardIterator", in, &at); err != nil {
			return err
		}
		if err := f.drain(ctx, a, shard.ShardID, at.ShardIterator); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) drain(ctx context.Context, a *api, shard, iterator string) error {
	for iterator != "" {
		var page struct {
			Records           []record
			NextShardIterator string
		}
		if err := a.stream(ctx, "GetRecords", object{"ShardIterator": iterator}, &page); err != nil {
			return err
		}
		if len(page.Records) == 0 {
			return nil // the end: nobody writes meanwhile
		}
		for i := range page.Records {
			if err := f.replay(&page.Records[i]); err != nil {
				return err
			}
			f.read[shard] = page.Records[i].Dynamodb.SequenceNumber
		}
		iterator = page.NextShardIterator
	}
	return nil
}

// replay applies a record. It must fit what the records before it made.
func (f *follower) replay(r *record) error {
	id := r.Dynamodb.Keys["id"].S
	before, there := f.images[id]
	if f.count++; there != (r.EventName != "INSERT") || !maps.Equal(before, r.Dynamodb.OldImage) {
		return fmt.Errorf("stream of %s: TORN: record %s, %s of %s from %v, when the records before it made %v",
			f.table, r.Dynamodb.SequenceNumber, r.EventName, id, r.Dynamodb.OldImage, before)
	}
	if r.EventName == "REMOVE" {
		delete(f.images, id)
	} else {
		f.images[id] = r.Dynamodb.NewImage
	}
	return nil
}

// compare holds the replayed records against the table. Keys of stored are TABLE/ID.
func (f *follower) compare(stored map[string]item) error {
	seen := 0
	for key, it := range stored {
		id := it["id"].S
		if key != f.table+"/"+id {
			continue
		}
		seen++
		if !maps.Equal(f.images[id], it) {
			return fmt.Errorf("stream of %s: LOST: its records make %s %v, the table has %v", f.table, id, f.images[id], it)
		}
	}
	if seen != len(f.images) {
		return fmt.Errorf("stream of %s: its records make %d items, the table has %d", f.table, len(f.images), seen)
	}
	return nil
}
