package mask

// automaton finds all patterns at once (Aho and Corasick). It never changes once
// it is built, so writers share it without a lock.
//
// Nodes lie in the order in which patterns brought them, so a node's first child
// is mostly the node after it, which costs no pointer: a secret of a hundred
// bytes has some thousand bytes of forms, and a node takes 14 bytes.
type automaton struct {
	// in is the byte that leads to a node.
	in []byte
	// next says that node n+1 is a child of n.
	next []bool
	// branch is an index into branches, or -1.
	branch []int32
	// fail is the node of the longest proper suffix that is some pattern's
	// beginning.
	fail []int32
	// depth is the length of the text that leads to a node.
	depth []int32
	// match is the length of the longest pattern that ends at a node, or 0.
	match []int32

	branches []edges
	// root holds the root's children; 0, the root itself, means none.
	root [256]int32
	// heads has a bit set for the hash of each four bytes that some pattern begins
	// with. Text is mostly no secret, and this skips it without walking the nodes.
	heads [1 << headBits / 64]uint64
}

// headBits is the size of the table of beginnings: 16 KiB, which stays in the
// processor's nearest cache.
const headBits = 17

// head hashes four bytes to a bit of the table.
func head(word uint32) uint32 { return word * 2654435761 >> (32 - headBits) }

// edges are a node's children beside the one that follows it.
type edges struct {
	bytes []byte
	nodes []int32
}

// build makes an automaton over all forms of the secrets.
func build(secrets []string) *automaton {
	a := &automaton{}
	a.node(0, 0)
	for _, s := range secrets {
		variants(s, a.insert)
	}
	a.link()
	return a
}

func (a *automaton) node(in byte, depth int32) int32 {
	a.in = append(a.in, in)
	a.next = append(a.next, false)
	a.branch = append(a.branch, -1)
	a.fail = append(a.fail, 0)
	a.depth = append(a.depth, depth)
	a.match = append(a.match, 0)
	return int32(len(a.in) - 1)
}

// insert adds a pattern. MinLength gives it the four bytes that head needs.
func (a *automaton) insert(pattern string) {
	h := head(uint32(pattern[0])<<24 | uint32(pattern[1])<<16 | uint32(pattern[2])<<8 | uint32(pattern[3]))
	a.heads[h/64] |= 1 << (h % 64)
	var n int32
	for i := range len(pattern) {
		child := a.child(n, pattern[i])
		if child == 0 {
			child = a.node(pattern[i], int32(i+1))
			a.adopt(n, child)
		}
		n = child
	}
	a.match[n] = int32(len(pattern))
}

// adopt makes child, the newest node, a child of n.
func (a *automaton) adopt(n, child int32) {
	b := a.in[child]
	switch {
	case n == 0:
		a.root[b] = child
	case child == n+1:
		a.next[n] = true
	default:
		if a.branch[n] < 0 {
			a.branch[n] = int32(len(a.branches))
			a.branches = append(a.branches, edges{})
		}
		e := &a.branches[a.branch[n]]
		e.bytes = append(e.bytes, b)
		e.nodes = append(e.nodes, child)
	}
}

// child returns n's child by b, or 0.
func (a *automaton) child(n int32, b byte) int32 {
	if n == 0 {
		return a.root[b]
	}
	if a.next[n] && a.in[n+1] == b {
		return n + 1
	}
	if i := a.branch[n]; i >= 0 {
		e := &a.branches[i]
		for j, eb := range e.bytes {
			if eb == b {
				return e.nodes[j]
			}
		}
	}
	return 0
}

// step returns where the automaton is after one more byte.
func (a *automaton) step(n int32, b byte) int32 {
	for {
		if c := a.child(n, b); c != 0 {
			return c
		}
		if n == 0 {
			return 0
		}
		n = a.fail[n]
	}
}

// link sets fail and match, breadth first: a node's suffixes are shorter, so they
// are done before it.
func (a *automaton) link() {
	queue := make([]int32, 0, len(a.in))
	for _, c := range a.root {
		if c != 0 {
			queue = append(queue, c)
		}
	}
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		if a.match[n] == 0 {
			// The longest pattern that ends here is then a suffix's.
			a.match[n] = a.match[a.fail[n]]
		}
		a.children(n, func(c int32) {
			a.fail[c] = a.step(a.fail[n], a.in[c])
			queue = append(queue, c)
		})
	}
}

func (a *automaton) children(n int32, visit func(int32)) {
	if a.next[n] {
		visit(n + 1)
	}
	if i := a.branch[n]; i >= 0 {
		for _, c := range a.branches[i].nodes {
			visit(c)
		}
	}
}

// skip returns the first index from i on at which a pattern may begin. It judges
// by four bytes, so it stops before the last three.
func (a *automaton) skip(p []byte, i int) int {
	if i+MinLength > len(p) {
		return i
	}
	word := uint32(p[i])<<16 | uint32(p[i+1])<<8 | uint32(p[i+2])
	for _, b := range p[i+3:] {
		word = word<<8 | uint32(b)
		h := head(word)
		if a.heads[h/64]&(1<<(h%64)) != 0 {
			return i
		}
		i++
	}
	return i
}
