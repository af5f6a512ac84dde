"""How it flows: the stages of the road, top to bottom. A stage is its settings; the rooms do the work.

    corpus     Read -> Filter -> Split ----------------> passages
    pairs      passages  -> Synthesize | Mine -> Verify -> groups
               task data -> Convert ---------------------> groups
    texts      passages, groups -> Template | Tag -------> texts
               texts -> Pack ----------------------------> rows
    mixing     documents -> Portion; texts -> Blend -----> texts
               neutral rows -> Instructions -------------> groups
    training   rows -> Train ----------------------------> model
    results    model -> Evaluate, Answering -> items -> Rate -> scores; model -> HeldOut -> scores -> WriteReport
    comparison models, scores -> Compare ----------------> comparison.json

A field that is a stage is an input. What a stage reads from outside (files, a model folder) is part of its identity by
content, see `sources`.
"""
