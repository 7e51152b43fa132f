"""A recommender for annotation tools: INCEpTION's and Label Studio's protocols, by one service."""
