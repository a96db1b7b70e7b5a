"""Modules in WebAssembly, from where objects say that they are: web servers, and registries of images."""
