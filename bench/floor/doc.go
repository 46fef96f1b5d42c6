// Package floor is what no server can go below: a process that holds accepted
// sockets and, told to, does one write(2) of the very bytes a gateway would write to
// each of them. No event loop, no buffers, no scheduler: raw system calls, from as
// many threads as a gateway has loops. floor.c is the same in C, for whoever doubts
// that Go can do it.
package floor
