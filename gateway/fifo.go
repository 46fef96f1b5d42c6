package gateway

// fifo is a queue that uses its array again. The zero value is empty.
type fifo[T any] struct {
	items []T
	head  int // items before it were popped
}

func (q *fifo[T]) size() int { return len(q.items) - q.head }

func (q *fifo[T]) push(x T) {
	if len(q.items) == cap(q.items) && 2*q.head >= len(q.items) && q.head > 0 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// pop takes the oldest; there must be one.
func (q *fifo[T]) pop() (x T) {
	x, q.items[q.head] = q.items[q.head], x
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > maxFifo {
			q.items = nil
		}
	}
	return x
}

// maxFifo bounds the array that an empty queue keeps.
const maxFifo = 4096
