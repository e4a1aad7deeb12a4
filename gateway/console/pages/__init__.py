"""The console's pages, one file a subject: each asks the gateway and fills a template."""
