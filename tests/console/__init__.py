"""The console in headless Chromium, on a platform with a small county."""
