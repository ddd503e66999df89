package table

import (
	"context"
	"slices"

	"github.com/livegate/livegate/internal/fault"
)

// UpdateTable changes a table's settings and indexes. A new index is filled
// before UpdateTable returns.
func (e *Engine) UpdateTable(ctx context.Context, in *UpdateTableInput) (*Description, error) {
	name, err := newTableName(in.TableName)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	var t *state
	var created []string
	err = e.change(ctx, func(tx Tx) error {
		old := e.lookup(name)
		if old == nil {
			return notFound("Requested resource not found: Table: %s not found", name)
		}
		def := old.def
		if err := in.apply(e, &def); err != nil {
			return err
		}
		if err := e.switchStream(tx, &old.def, &def); err != nil {
			return err
		}
		t = newState(def, old.counts)
		if created, err = reindex(tx, old, t); err != nil {
			return err
		}
		return e.save(tx, t)
	})
	if err != nil {
		return nil, err
	}
	d := e.describe(t)
	d.TableStatus = "UPDATING"
	for i := range d.GlobalSecondaryIndexes {
		if slices.Contains(created, d.GlobalSecondaryIndexes[i].IndexName) {
			d.GlobalSecondaryIndexes[i].IndexStatus = "CREATING"
		}
	}
	return d, nil
}

// reindex drops the spaces of indexes that went and fills those that came.
func reindex(tx Tx, old, t *state) (created []string, err error) {
	for _, i := range old.indexes {
		if t.index(i.name) == nil {
			if err := tx.Drop(i.space); err != nil {
				return nil, err
			}
		}
	}
	for _, i := range t.indexes {
		if old.index(i.name) != nil {
			continue
		}
		created = append(created, i.name)
		if err := i.fill(tx, t); err != nil {
			return nil, err
		}
	}
	return created, nil
}

func (in *UpdateTableInput) check() error {
	var c constraints
	c.enum(in.BillingMode, "billingMode", "PROVISIONED", "PAY_PER_REQUEST")
	c.attributes(in.AttributeDefinitions)
	if in.ProvisionedThroughput != nil {
		c.throughput(in.ProvisionedThroughput, "provisionedThroughput")
	}
	if err := c.err(); err != nil {
		return err
	}
	if in.ProvisionedThroughput == nil && in.BillingMode == "" && in.GlobalSecondaryIndexUpdates == nil && in.StreamSpecification == nil &&
		in.SSESpecification == nil && in.TableClass == "" && in.DeletionProtectionEnabled == nil && in.OnDemandThroughput == nil && in.ReplicaUpdates == nil {
		return invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	}
	if in.BillingMode == "PAY_PER_REQUEST" && in.ProvisionedThroughput != nil {
		return invalid("One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	}
	if in.ReplicaUpdates != nil {
		return fault.Typed(fault.Unsupported, "ValidationException", "ReplicaUpdates are not supported: Livegate keeps one copy of a table, in one region")
	}
	return nil
}

// apply changes the definition.
func (in *UpdateTableInput) apply(e *Engine, def *definition) error {
	if err := in.applyThroughput(e, def); err != nil {
		return err
	}
	if in.TableClass != "" {
		def.Class = in.TableClass
	}
	if in.DeletionProtectionEnabled != nil {
		def.Protected = *in.DeletionProtectionEnabled
	}
	if in.SSESpecification != nil {
		def.SSE = in.SSESpecification
	}
	if in.OnDemandThroughput != nil {
		def.OnDemandCap = in.OnDemandThroughput
	}
	if s := in.StreamSpecification; s != nil && s.StreamEnabled != nil {
		switch on := def.Stream != ""; {
		case on && *s.StreamEnabled:
			return invalid("Table already has an enabled stream: TableName: %s", def.Name)
		case !on && !*s.StreamEnabled:
			return invalid("Table does not have a stream to disable: TableName: %s", def.Name)
		}
		if err := def.setStream(s); err != nil {
			return err
		}
	}
	if in.GlobalSecondaryIndexUpdates != nil {
		return in.applyIndexes(def)
	}
	return nil
}

func (in *UpdateTableInput) applyThroughput(e *Engine, def *definition) error {
	switch in.BillingMode {
	case "PAY_PER_REQUEST":
		if !def.OnDemand {
			def.OnDemand, def.OnDemandAt = true, e.cfg.Clock.Now().UnixMilli()
		}
		def.Read, def.Write = 0, 0
		def.Globals = slices.Clone(def.Globals)
		for i := range def.Globals {
			def.Globals[i].ProvisionedThroughput = nil
		}
		return nil
	case "PROVISIONED":
		if in.ProvisionedThroughput == nil && def.OnDemand {
			return invalid("One or more parameter values were invalid: ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
		}
		if def.OnDemand {
			def.OnDemand, def.Read, def.Write = false, 0, 0
		}
	}
	t := in.ProvisionedThroughput
	if t == nil {
		return nil
	}
	if def.OnDemand {
		return invalid("One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	}
	if *t.ReadCapacityUnits == def.Read && *t.WriteCapacityUnits == def.Write {
		return invalid("The provisioned throughput for the table will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the table: %d. Requested ReadCapacityUnits: %d. Current WriteCapacityUnits provisioned for the table: %d. Requested WriteCapacityUnits: %d. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
			def.Read, def.Read, def.Write, def.Write)
	}
	def.Read, def.Write = *t.ReadCapacityUnits, *t.WriteCapacityUnits
	return nil
}

// applyIndexes adds, changes and removes GSIs.
func (in *UpdateTableInput) applyIndexes(def *definition) error {
	find := func(name string) int {
		return slices.IndexFunc(def.Globals, func(x SecondaryIndex) bool { return x.IndexName == name })
	}
	def.Globals = slices.Clone(def.Globals)
	changes := 0
	for _, u := range *in.GlobalSecondaryIndexUpdates {
		switch {
		case u.Create != nil:
			changes++
			if find(u.Create.IndexName) >= 0 {
				return invalid("Attempting to create an index which already exists")
			}
			if err := def.create(u.Create, in.AttributeDefinitions); err != nil {
				return err
			}
		case u.Delete != nil:
			changes++
			at := find(u.Delete.IndexName)
			if at < 0 {
				return notFound("Requested resource not found")
			}
			def.Globals = slices.Delete(def.Globals, at, at+1)
			def.dropUnused()
		case u.Update != nil:
			at := find(u.Update.IndexName)
			if at < 0 {
				return notFound("Requested resource not found")
			}
			if u.Update.ProvisionedThroughput != nil {
				def.Globals[at].ProvisionedThroughput = u.Update.ProvisionedThroughput
			}
		default:
			return invalid("One or more parameter values were invalid: One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null")
		}
	}
	if changes > 1 {
		return fault.Typed(fault.BadRequest, "LimitExceededException", "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")
	}
	return nil
}

// create adds a GSI, and the definitions of the attributes it needs.
func (def *definition) create(x *SecondaryIndex, attributes []AttributeDefinition) error {
	var c constraints
	c.index(x, "globalSecondaryIndexUpdates.1.member.create")
	if err := c.err(); err != nil {
		return err
	}
	def.Attributes = slices.Clone(def.Attributes)
	for _, a := range attributes {
		at := slices.IndexFunc(def.Attributes, func(b AttributeDefinition) bool { return a.AttributeName == b.AttributeName })
		switch {
		case at < 0:
			def.Attributes = append(def.Attributes, a)
		case def.Attributes[at] != a:
			return invalid("One or more parameter values were invalid: Attribute %s is redefined with another type", a.AttributeName)
		}
	}
	def.Globals = append(def.Globals, *x)
	if err := def.checkIndexes(); err != nil {
		return err
	}
	return nil
}

// dropUnused forgets the definitions of attributes that are no key any more.
func (def *definition) dropUnused() {
	def.Attributes = slices.DeleteFunc(slices.Clone(def.Attributes), func(a AttributeDefinition) bool {
		for _, schema := range def.schemas() {
			if slices.ContainsFunc(schema, func(k KeySchemaElement) bool { return k.AttributeName == a.AttributeName }) {
				return false
			}
		}
		return true
	})
}

// schemas lists the key schemas of the table and its indexes.
func (def *definition) schemas() [][]KeySchemaElement {
	all := [][]KeySchemaElement{def.KeySchema}
	for _, x := range slices.Concat(def.Locals, def.Globals) {
		all = append(all, x.KeySchema)
	}
	return all
}
