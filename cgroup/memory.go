package cgroup

import (
	"errors"
	"fmt"
)

// ErrBelowUse is wrapped by the error about a memory limit below what a group
// uses and can't be made to give back.
var ErrBelowUse = errors.New("memory limit is below what is in use")

// belowUse is that error, of two numbers of bytes as the kernel's files have
// them; usage is "" where it can't be read.
func belowUse(limit, usage string, cause error) error {
	if usage == "" {
		usage = "more"
	}
	return fmt.Errorf("%w: %s bytes were asked for, %s are in use and can't be reclaimed: ask for more than that, or have the app free some first (%w)",
		ErrBelowUse, limit, usage, cause)
}

// memorySettings orders the two memory limits so that each single write is
// valid: on v1 the kernel wants memory <= memory+swap at every moment, so what
// grows is written from the outside in and what shrinks from the inside out.
// v2's two limits are independent, memory.swap.max being swap alone.
func memorySettings(h *Hierarchy, r *Resources, now *Limits) ([]setting, error) {
	memory, both := r.MemoryLimitBytes, r.MemorySwapLimitBytes
	if memory < -1 || both < -1 {
		return nil, fmt.Errorf("%w: memory limit %d, memory+swap limit %d: want bytes, or -1 for none", ErrInvalid, memory, both)
	}
	if memory == 0 && both == 0 {
		return nil, nil
	}
	limit := memory // that will hold
	if memory == 0 {
		limit = now.MemoryLimitBytes
	}
	if both > 0 && (limit == -1 || both < limit) {
		return nil, fmt.Errorf("%w: memory+swap limit %d is below the memory limit %s", ErrInvalid, both, orMax(limit))
	}
	if h.onV2("memory") {
		return memoryV2(limit, memory, both), nil
	}
	if memory != 0 && both == 0 && now.MemorySwapLimitBytes != -1 && (memory == -1 || memory > now.MemorySwapLimitBytes) {
		return nil, fmt.Errorf("%w: memory limit %s is above the memory+swap limit of %d that stands: set both", ErrInvalid, orMax(memory), now.MemorySwapLimitBytes)
	}
	return memoryV1(limit, memory, both, now), nil
}

func memoryV1(limit, memory, both int64, now *Limits) []setting {
	inner := setting{controller: "memory", file: "memory.limit_in_bytes", value: fmt.Sprint(memory)}
	outer := setting{controller: "memory", file: "memory.memsw.limit_in_bytes", value: fmt.Sprint(both), mayLack: both == -1 || both == limit}
	switch {
	case both == 0:
		return []setting{inner}
	case memory == 0:
		return []setting{outer}
	case now.MemorySwapLimitBytes != -1 && (both == -1 || both > now.MemorySwapLimitBytes):
		return []setting{outer, inner}
	default:
		return []setting{inner, outer}
	}
}

func memoryV2(limit, memory, both int64) []setting {
	var s []setting
	if memory != 0 {
		s = append(s, setting{controller: "memory", file: "memory.max", value: orMax(memory)})
	}
	if both != 0 {
		swap := both
		if both > 0 {
			swap = both - limit
		}
		s = append(s, setting{controller: "memory", file: "memory.swap.max", value: orMax(swap), mayLack: swap <= 0})
	}
	return s
}
