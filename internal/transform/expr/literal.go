package expr

import (
	"cmp"
	"fmt"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// mapLiteral is a map that an expression writes, {"a": 1}. What the interpreter makes of it is gone through in another
// order each time.
type mapLiteral struct{ interpreter.InterpretableV2 }

// orderMaps puts maps that expressions write in order.
func orderMaps(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if c, ok := i.(interpreter.InterpretableConstructor); ok && c.Type() == types.MapType {
		return mapLiteral{i}, nil
	}
	return i, nil
}

// Exec makes the map.
func (m mapLiteral) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return inOrder(m.InterpretableV2.Exec(frame))
}

// Eval makes the map.
func (m mapLiteral) Eval(vars interpreter.Activation) ref.Val {
	return inOrder(m.InterpretableV2.Eval(vars))
}

func inOrder(v ref.Val) ref.Val {
	if m, ok := v.(traits.Mapper); ok {
		return &ordered{m}
	}
	return v
}

// ordered is a map that is gone through by the texts of its keys.
type ordered struct{ traits.Mapper }

// Iterator goes over the keys.
func (o *ordered) Iterator() traits.Iterator {
	var keys []ref.Val
	for it := o.Mapper.Iterator(); it.HasNext() == types.True; {
		keys = append(keys, it.Next())
	}
	slices.SortFunc(keys, func(a, b ref.Val) int { return cmp.Compare(keyText(a), keyText(b)) })
	return over(keys)
}

func keyText(v ref.Val) string { return fmt.Sprint(v.Type().TypeName(), v.Value()) }
