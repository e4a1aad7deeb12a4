"""The code: five services, the kernel they stand on, and the programmes they follow."""
