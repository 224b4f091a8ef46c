// Firmware in Go that prints a greeting once a second on the board's console.
package main

import "time"

func main() {
	for {
		println("Hello, World!")
		time.Sleep(time.Second)
	}
}
