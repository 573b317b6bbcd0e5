"""Which models of ours there are: one explicit row for each, and nothing is imported. RecBole's are found by their names."""

from __future__ import annotations

from recbole_ext.registry import (
    CLOSED_FORM,
    CONCEPTS,
    EPOCHS,
    INTENTION,
    LATENTS,
    PROMPTS,
    STAGED,
    TRANSFER,
    UNSEEN_USERS,
    ModelSpec,
    Paper,
)

_L3AE = Paper(
    "LLM-Enhanced Linear Autoencoders for Recommendation",
    "CIKM 2025",
    "https://github.com/jaewan7599/L3AE_CIKM2025",
)
_ALPHAREC = Paper(
    "Language Representations Can Be What Recommenders Need: Findings and Potentials",
    "ICLR 2025",
    "https://github.com/LehengTHU/AlphaRec",
)
_KNOTS = Paper(
    "From Knots to Knobs: Towards Steerable Collaborative Filtering Using Sparse Autoencoders",
    "preprint 2026",
    "https://arxiv.org/abs/2601.11182",
)
_SAULREC = Paper(
    "Sparse Autoencoders in Collaborative Filtering Enhanced LLM-based Recommender Systems",
    "CIKM 2025",
    "https://doi.org/10.1145/3746252.3760957",
)
_ALLMREC = Paper(
    "Large Language Models meet Collaborative Filtering: An Efficient All-round LLM-based Recommender System",
    "KDD 2024",
    "https://github.com/ghdtjr/A-LLMRec",
)
_COLLM = Paper(
    "CoLLM: Integrating Collaborative Embeddings into Large Language Models for Recommendation",
    "TKDE 2025",
    "https://github.com/zyang1580/CoLLM",
)
_TALLREC = Paper(
    "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with Recommendation",
    "RecSys 2023",
    "https://doi.org/10.1145/3604915.3608857",
)
_BINLLM = Paper(
    "Text-like Encoding of Collaborative Information in Large Language Models for Recommendation",
    "ACL 2024",
    "https://github.com/zyang1580/BinLLM",
)
_PROMPT4NR = Paper(
    "Prompt Learning for News Recommendation",
    "SIGIR 2023",
    "https://doi.org/10.1145/3539618.3591752",
)
_SELLA = Paper(
    "Enhancing LLM-based Recommendation through Semantic-Aligned Collaborative Knowledge",
    "arXiv 2025",
    "https://arxiv.org/abs/2504.10107",
)
_JEUNEN = Paper(
    "Closed-Form Models for Collaborative Filtering with Side-Information",
    "RecSys 2020",
    "https://doi.org/10.1145/3383313.3418480",
)

MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="Pop",
            target="recbole_ext.model.pop:Pop",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
        ),
        ModelSpec(
            name="RandomPop",
            target="recbole_ext.model.pop:RandomPop",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="EASE",
            target="recbole_ext.model.ease:EASE",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Embarrassingly Shallow Autoencoders for Sparse Data",
                "WWW 2019",
                "https://arxiv.org/abs/1905.03375",
            ),
        ),
        ModelSpec(
            name="L3AE",
            target="recbole_ext.model.l3ae:L3AE",
            trainer=CLOSED_FORM,
            inputs=("item_text",),
            offers=(UNSEEN_USERS,),
            paper=_L3AE,
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{target}",
                trainer=CLOSED_FORM,
                inputs=("item_text",),
                offers=(UNSEEN_USERS,),
                paper=paper,
            )
            for name, target, paper in (
                ("CosineText", "semantic:CosineText", _L3AE),
                ("SemanticEASE", "semantic:SemanticEASE", _L3AE),
                ("CEASE", "cease:CEASE", _JEUNEN),
                ("AddEASE", "cease:AddEASE", _JEUNEN),
                ("LLMCEASE", "cease:CEASE", _L3AE),
                ("LLMAddEASE", "cease:AddEASE", _L3AE),
            )
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{name.lower()}:{name}",
                trainer=CLOSED_FORM,
                offers=(UNSEEN_USERS,),
                paper=paper,
            )
            for name, paper in (
                (
                    "GFCF",
                    Paper(
                        "How Powerful is Graph Convolution for Recommendation?",
                        "CIKM 2021",
                        "https://github.com/yshenaw/GF_CF",
                    ),
                ),
                (
                    "BSPM",
                    Paper(
                        "Blurring-Sharpening Process Models for Collaborative Filtering",
                        "SIGIR 2023",
                        "https://github.com/jeongwhanchoi/BSPM",
                    ),
                ),
                (
                    "SGFCF",
                    Paper(
                        "How Powerful is Graph Filtering for Recommendation",
                        "KDD 2024",
                        "https://github.com/tanatosuu/sgfcf",
                    ),
                ),
                (
                    "ChebyCF",
                    Paper(
                        "Graph Spectral Filtering with Chebyshev Interpolation for Recommendation",
                        "SIGIR 2025",
                        "https://github.com/chanwoo0806/ChebyCF",
                    ),
                ),
            )
        ),
        ModelSpec(
            name="AlphaRec",
            target="recbole_ext.model.alpharec:AlphaRec",
            trainer=EPOCHS,
            inputs=("item_text",),
            offers=(INTENTION, TRANSFER, UNSEEN_USERS),
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="UniSRec",
            target="recbole_ext.model.unisrec:UniSRec",
            trainer=EPOCHS,
            inputs=("item_text",),
            offers=(INTENTION, TRANSFER, UNSEEN_USERS),
            paper=Paper(
                "Towards Universal Sequence Representation Learning for Recommender Systems",
                "KDD 2022",
                "https://doi.org/10.1145/3534678.3539381",
            ),
        ),
        ModelSpec(
            name="ELSA",
            target="recbole_ext.model.elsa:ELSA",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Scalable Linear Shallow Autoencoder for Collaborative Filtering",
                "RecSys 2022",
                "https://doi.org/10.1145/3523227.3551482",
            ),
        ),
        ModelSpec(
            name="MultVAE",
            target="recbole_ext.model.multvae:MultVAE",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Variational Autoencoders for Collaborative Filtering",
                "WWW 2018",
                "https://arxiv.org/abs/1802.05814",
            ),
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.knots:{name}",
                trainer=STAGED,
                offers=(CONCEPTS, UNSEEN_USERS),
                paper=_KNOTS,
            )
            for name in ("KnotsELSA", "KnotsMultVAE")
        ),
        ModelSpec(
            name="Bias",
            target="recbole_ext.model.bias:Bias",
            trainer=CLOSED_FORM,
            scoring="pointwise",
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{module}:{name}",
                trainer=STAGED,
                scoring="pointwise",
                paper=_COLLM,
            )
            for name, module in (
                ("MF", "mf"),
                ("DIN", "din"),
                ("SASRecBCE", "sasrec_bce"),
                ("LightGCNBCE", "lightgcn_bce"),
            )
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{module}:{name}",
                trainer=STAGED,
                scoring="pointwise",
                inputs=("item_titles", "language_model"),
                generative=name
                == "ZeroShot",  # the others learn their answers where a backbone has no words
                offers=(PROMPTS,),
                paper=paper,
            )
            for name, module, paper in (
                ("ZeroShot", "tallrec", None),
                ("TALLRec", "tallrec", _TALLREC),
                ("Prompt4NR", "prompt4nr", _PROMPT4NR),
                ("PersonPrompt", "person_prompt", _COLLM),
                ("CoLLM", "collm", _COLLM),
                ("SeLLaRec", "sellarec", _SELLA),
                ("BinLLM", "binllm", _BINLLM),
            )
        ),
        ModelSpec(
            name="CTRL",
            target="recbole_ext.model.ctrl:CTRL",
            trainer=STAGED,
            scoring="pointwise",
            inputs=("item_text",),
            paper=Paper(
                "CTRL: Connect Collaborative and Language Model for CTR Prediction",
                "TORS 2025",
                "https://doi.org/10.1145/3713080",
            ),
        ),
        ModelSpec(
            name="SASRec",
            target="recbole_ext.model.sasrec:SASRec",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            ordered=True,
            revision=3,  # 1 and 2 were RecBole's under this name
            paper=Paper(
                "Self-Attentive Sequential Recommendation",
                "ICDM 2018",
                "https://github.com/pmixer/SASRec.pytorch",
            ),
        ),
        ModelSpec(
            name="SASRecSAE",
            target="recbole_ext.model.sasrec_sae:SASRecSAE",
            trainer=STAGED,
            offers=(LATENTS, UNSEEN_USERS),
            ordered=True,
            paper=_SAULREC,
        ),
        ModelSpec(
            name="MatchedSASRec",
            target="recbole_ext.model.matching:MatchedSASRec",
            trainer=STAGED,
            inputs=("item_text",),
            offers=(UNSEEN_USERS,),
            ordered=True,
            paper=_ALLMREC,
        ),
        ModelSpec(
            name="ALLMRec",
            target="recbole_ext.model.allmrec:ALLMRec",
            trainer=STAGED,
            scoring="candidates",
            inputs=("item_text", "item_titles", "language_model"),
            generative=True,
            ordered=True,
            paper=_ALLMREC,
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.saul:{name}",
                trainer=STAGED,
                scoring="candidates",
                inputs=("item_text", "item_titles", "language_model"),
                generative=True,
                offers=(LATENTS,),
                ordered=True,
                paper=_SAULREC,
            )
            for name in ("SAULA", "SAULD")
        ),
        ModelSpec(
            name="LLaRA",
            target="recbole_ext.model.llara:LLaRA",
            trainer=STAGED,
            scoring="candidates",
            inputs=("item_titles", "language_model"),
            generative=True,
            ordered=True,
            paper=Paper(
                "LLaRA: Large Language-Recommendation Assistant",
                "SIGIR 2024",
                "https://github.com/ljy0ustc/LLaRA",
            ),
        ),
        ModelSpec(
            name="SimGCL",
            target="recbole_ext.model.simgcl:SimGCL",
            trainer=EPOCHS,
            paper=Paper(
                "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
                "SIGIR 2022",
                "https://doi.org/10.1145/3477495.3531937",
            ),
        ),
        ModelSpec(
            name="XSimGCL",
            target="recbole_ext.model.simgcl:XSimGCL",
            trainer=EPOCHS,
            paper=Paper(
                "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
                "TKDE 2023",
                "https://doi.org/10.1109/TKDE.2023.3288135",
            ),
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.rlmrec:{name}",
                trainer=EPOCHS,
                inputs=("item_text",),
                paper=Paper(
                    "Representation Learning with Large Language Models for Recommendation",
                    "WWW 2024",
                    "https://github.com/HKUDS/RLMRec",
                ),
            )
            for name in ("RLMRecCon", "RLMRecGen")
        ),
        ModelSpec(
            name="KAR",
            target="recbole_ext.model.kar:KAR",
            trainer=EPOCHS,
            inputs=("item_text",),
            paper=Paper(
                "Towards Open-World Recommendation with Knowledge Augmentation from Large Language Models",
                "RecSys 2024",
                "https://github.com/YunjiaXi/Open-World-Knowledge-Augmented-Recommendation",
            ),
        ),
        ModelSpec(
            name="BCLoss",
            target="recbole_ext.model.bc_loss:BCLoss",
            trainer=EPOCHS,
            paper=Paper(
                "Incorporating Bias-aware Margins into Contrastive Loss for Collaborative Filtering",
                "NeurIPS 2022",
                "https://github.com/anzhang314/BC-Loss",
            ),
        ),
    )
}
