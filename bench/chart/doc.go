// Package chart draws line and bar charts as SVG, 800×450 pixels on white. It knows
// nothing of what they show.
//
// What is drawn is the same for the same input, byte for byte, so that charts can be
// kept with the text that shows them. Series differ by colour and by dash, marker or
// hatching, so that they can be told apart in print and by those who see no colours.
//
// Of gonum.org/v1/plot it uses the SVG canvas and the measuring of text. The axes are
// its own: package plot itself would add twelve fonts and four other formats to every
// process of halley, 7 MB of binary and 5 MB of memory, gateways included.
package chart
