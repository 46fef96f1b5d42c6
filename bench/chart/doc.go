// Package chart draws line and bar charts as SVG, 800×450 pixels on white. It knows
// nothing of what they show.
//
// What is drawn is the same for the same input, byte for byte, so that charts can be
// kept with the text that shows them. Series differ by colour and by dash, marker or
// hatching, so that they can be told apart in print and by those who see no colours.
//
// It writes the SVG itself and measures text by a table, for a library would be in
// every process of halley, gateways included: of gonum.org/v1/plot the SVG canvas and
// the fonts alone were 1.3 MB of binary and 1 MB of memory.
package chart
