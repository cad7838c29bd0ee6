// Package top is what `waybill top` shows. What workers answer becomes a Model, the model a Snapshot of now (which -o json prints as it is), and
// a snapshot a frame of text of a given size. It does no I/O: answers, keys and the time are handed in, so that a frame follows from them.
//
// What comes from workers is text that others have written: names, errors, words of servers. None of it reaches a terminal but through clean.
package top
