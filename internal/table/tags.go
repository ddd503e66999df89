package table

import (
	"context"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// byARN finds the table a resource ARN names.
func (e *Engine) byARN(arn *string) (*state, error) {
	if arn == nil || *arn == "" {
		return nil, invalid("Invalid TableArn")
	}
	name := fromARN(*arn)
	if name == *arn || name == "" || !strings.HasPrefix(*arn, "arn:") {
		return nil, invalid("Invalid TableArn: Invalid ResourceArn provided as input %s", *arn)
	}
	if parts := strings.Split(*arn, ":"); len(parts) < 6 || parts[4] != e.cfg.AccountID {
		return nil, fault.Typed(fault.BadRequest, "AccessDeniedException", "The resource %s belongs to another account than %s", *arn, e.cfg.AccountID)
	}
	if t := e.lookup(name); t != nil {
		return t, nil
	}
	return nil, notFound("Requested resource not found: ResourcArn: %s not found", *arn)
}

// Tags lists a table's tags.
func (e *Engine) Tags(arn *string) ([]Tag, error) {
	t, err := e.byARN(arn)
	if err != nil {
		return nil, err
	}
	return t.def.Tags, nil
}

const maxTags = 50

// TagResource sets tags, replacing those with the same key.
func (e *Engine) TagResource(ctx context.Context, arn *string, tags []Tag) error {
	if len(tags) == 0 {
		return invalid("Atleast one Tag needs to be provided as Input.")
	}
	return e.retag(ctx, arn, func(have []Tag) []Tag {
		for _, tag := range tags {
			at := slices.IndexFunc(have, func(h Tag) bool { return h.Key == tag.Key })
			if at < 0 {
				have = append(have, tag)
			} else {
				have[at] = tag
			}
		}
		return have
	})
}

// UntagResource removes tags by key.
func (e *Engine) UntagResource(ctx context.Context, arn *string, keys []string) error {
	if len(keys) == 0 {
		return invalid("Atleast one Tag Key needs to be provided as Input.")
	}
	return e.retag(ctx, arn, func(have []Tag) []Tag {
		return slices.DeleteFunc(have, func(t Tag) bool { return slices.Contains(keys, t.Key) })
	})
}

func (e *Engine) retag(ctx context.Context, arn *string, edit func([]Tag) []Tag) error {
	return e.change(ctx, func(tx Tx) error {
		old, err := e.byARN(arn)
		if err != nil {
			return err
		}
		def := old.def
		def.Tags = edit(slices.Clone(def.Tags))
		if len(def.Tags) > maxTags {
			return fault.Typed(fault.BadRequest, "LimitExceededException", "Subscriber limit exceeded: a table may have at most %d tags", maxTags)
		}
		return e.save(tx, newState(def, old.counts))
	})
}

// SetPointInTime keeps the continuous-backups switch; there are no backups
// behind it. It returns the setting.
func (e *Engine) SetPointInTime(ctx context.Context, name *string, on bool) error {
	n, err := newTableName(name)
	if err != nil {
		return err
	}
	return e.change(ctx, func(tx Tx) error {
		old := e.lookup(n)
		if old == nil {
			return fault.Typed(fault.BadRequest, "TableNotFoundException", "Table not found: %s", n)
		}
		def := old.def
		def.PointInTime = on
		return e.save(tx, newState(def, old.counts))
	})
}

// PointInTime reads the switch.
func (e *Engine) PointInTime(name *string) (bool, error) {
	n, err := newTableName(name)
	if err != nil {
		return false, err
	}
	t := e.lookup(n)
	if t == nil {
		return false, fault.Typed(fault.BadRequest, "TableNotFoundException", "Table not found: %s", n)
	}
	return t.def.PointInTime, nil
}
