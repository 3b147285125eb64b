//go:build cuda

package main

import _ "ringo/cuda" // the devices cuda and soft
