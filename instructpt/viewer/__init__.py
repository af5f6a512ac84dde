"""The viewer: a finished artifact in a browser, one megabyte or a hundred gigabytes. What `instructpt view` starts.

    browser                     server.py                    files under a root
    index.html, viewer.js  -->  /api/texts/records     -->   shelf.py     which artifacts there are; one block
                                /api/texts/search                         of one shard at a time
                                /api/texts/about             search.py    search and filters, over Arrow columns
                                /api/texts/charts            about.py     manifest, tree, distributions of a sample
                                       ...                   shown.py     a record as JSON, its support marked
                                                             packed.py    a row of packed tokens

Nothing is indexed and nothing is written: counts come from the shards' seals, a page from the one row group that holds
it. Corpus text is hostile: it leaves the server as JSON only, and the page puts it in as text, never as markup; a
content security policy stands behind that.
"""
